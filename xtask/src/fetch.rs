//! Published weights and data for the evaluations.

use crate::evaluation::build;
use crate::shell::run;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Fetch {
    /// Architectures as `faithful model list` shows them, `cmapss`, or `all`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Ask no network: say what is on this machine, from its caches too
    #[arg(long)]
    offline: bool,
    /// A `faithful` that is built already
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// `faithful model pull` and `faithful rul pull`, in the order of what they are asked for.
pub(crate) fn fetch(arguments: &Fetch) -> Result<()> {
    let faithful = arguments.binary.clone().map_or_else(build, Ok)?;
    let commands: Vec<Vec<&str>> = arguments.names.iter().flat_map(|name| commands(name)).collect();
    for words in commands {
        let mut command = Command::new(&faithful);
        command.args(words);
        if arguments.offline {
            command.arg("--offline");
        }
        run(&mut command)?;
    }
    Ok(())
}

fn commands(name: &str) -> Vec<Vec<&str>> {
    match name {
        "cmapss" => vec![vec!["rul", "pull"]],
        "all" => vec![vec!["model", "pull", "all"], vec!["rul", "pull"]],
        name => vec![vec!["model", "pull", name]],
    }
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn names_become_commands() {
        assert_eq!(commands("vgg16"), [["model", "pull", "vgg16"]]);
        assert_eq!(commands("cmapss"), [["rul", "pull"]]);
        assert_eq!(commands("all").len(), 2);
    }
}
