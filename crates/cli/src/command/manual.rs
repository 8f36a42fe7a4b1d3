//! `faithful completions` and `faithful man`, from the definitions of the command line.

use crate::arguments::Arguments;
use crate::failure::Outcome;
use crate::files::Folder;
use crate::output::Output;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;

pub(crate) fn completions(shell: Shell, output: &Output) -> Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "faithful", &mut text);
    output.text(String::from_utf8(text).context("the completions are no text")?.trim_end())?;
    Ok(Outcome::Complete)
}

/// The program's own page on stdout; or that and one per command as files.
pub(crate) fn man(folder: Option<&Path>, output: &Output) -> Result<Outcome> {
    let mut command = Arguments::command();
    command.build();
    let Some(folder) = folder else {
        output.text(page(command)?.trim_end())?;
        return Ok(Outcome::Complete);
    };
    let folder = Folder::prepare(folder)?;
    let mut waiting = vec![("faithful".to_owned(), command)];
    while let Some((name, command)) = waiting.pop() {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            waiting.push((format!("{name}-{}", sub.get_name()), sub.clone()));
        }
        let path = folder.write(&format!("{name}.1"), page(command)?.as_bytes())?;
        output.line(&path.display().to_string())?;
    }
    Ok(Outcome::Complete)
}

fn page(command: Command) -> Result<String> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text).context("the manual page cannot be made")?;
    String::from_utf8(text).context("the manual page is no text")
}
