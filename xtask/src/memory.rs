use crate::served::{Server, watched};
use crate::shell::{highest_memory, program};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `memory-check` takes.
#[derive(clap::Args)]
pub(crate) struct MemoryCheck {
    /// Networks: `faithful explain`'s --model; the built-in one by default
    #[arg(long)]
    model: Vec<String>,
    /// Photos
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// What is done with them: `explain`, `compare`, `atlas`, `evaluate` with --crop none, `sanity`, `predict`, `serve`
    #[arg(long, value_delimiter = ',', default_value = "explain", value_parser = clap::builder::PossibleValuesParser::new(COMMANDS))]
    commands: Vec<String>,
    /// Methods
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "grad-cam,expected-grad-cam,hyper-expected-grad-cam,integrated-gradients,expected-gradients,score-cam,rise"
    )]
    methods: Vec<String>,
    /// Limits, as `512MiB`
    #[arg(long, value_delimiter = ',', default_value = "512MiB,1GiB,2GiB,4GiB")]
    limits: Vec<String>,
    /// In place of limits: what the program says that one row takes, beside what one row takes (`--batch 1`)
    #[arg(long)]
    estimates: bool,
    /// Draws of the methods that draw
    #[arg(long, default_value_t = 50)]
    draws: usize,
    /// The program, where it is built already; a release build by default
    #[arg(long)]
    program: Option<PathBuf>,
    /// More options of the commands, such as `--crop none --resize 2000`
    #[arg(last = true)]
    options: Vec<String>,
}

const COMMANDS: [&str; 7] = ["explain", "compare", "atlas", "evaluate", "sanity", "predict", "serve"];

/// One way to call the program.
struct Case<'a> {
    program: &'a Path,
    command: &'a str,
    model: Option<&'a str>,
    photo: &'a Path,
    method: &'a str,
    draws: usize,
    options: &'a [String],
    /// What is written goes here, and is removed after each call.
    out: PathBuf,
}

/// Runs commands under `--memory` and prints the most that the process ever had in memory, beside the limit.
pub(crate) fn check(arguments: &MemoryCheck) -> Result<()> {
    let program = program(arguments.program.as_deref())?;
    let out = std::env::temp_dir().join(format!("faithful-memory-{}", std::process::id()));
    if arguments.estimates {
        println!(
            "| command | network | photo | method | estimate of a row, MiB | most, MiB | estimate / most |\n|---|---|---|---|--:|--:|--:|"
        );
    } else {
        println!(
            "| command | network | photo | method | limit | most, MiB | of the limit | |\n|---|---|---|---|---|--:|--:|---|"
        );
    }
    let models: Vec<Option<&str>> =
        if arguments.model.is_empty() { vec![None] } else { arguments.model.iter().map(|one| Some(&**one)).collect() };
    for model in models {
        for photo in &arguments.photos {
            for command in &arguments.commands {
                // What is said of a network alone depends on no method.
                let methods = if command == "predict" { &arguments.methods[..1] } else { &arguments.methods };
                for method in methods {
                    let (draws, options) = (arguments.draws, &arguments.options);
                    let out = out.clone();
                    let case = Case { program: &program, command, model, photo, method, draws, options, out };
                    let measured = if arguments.estimates { case.estimate() } else { case.limits(&arguments.limits) };
                    if let Err(error) = measured {
                        println!("{} | {error} |", case.words());
                    }
                }
            }
        }
    }
    Ok(())
}

impl Case<'_> {
    fn limits(&self, limits: &[String]) -> Result<()> {
        for limit in limits {
            let (most, said) = self.run(&["--memory", limit])?;
            let note = if estimate_in(&said).is_some() { "refused: one row is more" } else { "" };
            let share = 100.0 * most / mebibytes(limit)?;
            println!("{} | {limit} | {most:.0} | {share:.0}% | {note} |", self.words());
        }
        Ok(())
    }

    fn estimate(&self) -> Result<()> {
        let refused = self.run(&["--memory", "1MiB"])?.1;
        let estimate = estimate_in(&refused).with_context(|| format!("1 MiB was not refused: {refused}"))?;
        let batch: &[&str] =
            if ["sanity", "predict", "serve"].contains(&self.command) { &[] } else { &["--batch", "1"] };
        let most = Case { draws: 2, out: self.out.clone(), ..*self }.run(batch)?.0;
        println!("{} | {estimate:.0} | {most:.0} | {:.2} |", self.words(), estimate / most);
        Ok(())
    }

    fn words(&self) -> String {
        let of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let network = self.model.map_or_else(|| "built-in".into(), |model| of(Path::new(model)));
        format!("| {} | {network} | {} | {}", self.command, of(self.photo), self.method)
    }

    /// The most memory, and what was said.
    fn run(&self, more: &[&str]) -> Result<(f64, String)> {
        let mut options: Vec<&str> = self.model.iter().flat_map(|model| ["--model", model]).collect();
        options.extend(self.options.iter().map(String::as_str).chain(more.iter().copied()));
        if self.command == "serve" {
            return self.served(&options);
        }
        // `atlas` and `evaluate` take folders.
        let folder = self.out.join("photos");
        std::fs::create_dir_all(&folder)?;
        std::fs::copy(self.photo, folder.join(self.photo.file_name().context("a photo has a name")?))?;
        let mut command = Command::new(self.program);
        self.ask(&mut command, &folder);
        let found = peak(command.args(&options));
        std::fs::remove_dir_all(&self.out)?;
        found
    }

    /// What the command is told besides its limit.
    fn ask(&self, command: &mut Command, folder: &Path) {
        let (photo, method, out) = (self.photo, self.method, self.out.join("out"));
        command.arg(self.command);
        match self.command {
            "predict" => command.arg(photo),
            "explain" => command.arg(photo).args(["--method", method, "--out"]).arg(out),
            "compare" => command.arg(photo).args(["--methods", method, "--out"]).arg(out.with_extension("html")),
            "atlas" => command
                .args(["--class", "0", "--least", "0", "--method", method, "--images"])
                .arg(folder)
                .arg("--out")
                .arg(out.with_extension("html")),
            "sanity" => command.arg(photo).args(["--methods", method, "--layers", "2"]),
            _ => command
                .args(["--crop", "none", "--methods", method, "--metrics", "insertion", "--steps", "8", "--images"])
                .arg(folder)
                .arg("--out")
                .arg(out),
        };
        if self.takes_draws() && self.command != "predict" && self.command != "evaluate" {
            command.args(["--draws", &self.draws.to_string()]);
        }
    }

    /// [`Case::run`] of a server that explains one photo.
    fn served(&self, options: &[&str]) -> Result<(f64, String)> {
        let server = Server::start(self.program, options)?;
        let draws = if self.takes_draws() { format!("&draws={}", self.draws) } else { String::new() };
        let query = format!("method={}{draws}", self.method);
        let (_, events) = watched(server.address, &query, &std::fs::read(self.photo)?)?;
        checked(server.peak(), events.contains("\"state\":\"done\""), events)
    }

    fn takes_draws(&self) -> bool {
        !["grad-cam", "score-cam"].contains(&self.method)
    }
}

/// The most memory that a program ever had, in MiB, and what it said.
fn peak(command: &mut Command) -> Result<(f64, String)> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start faithful")?;
    let mut most = 0.0f64;
    while child.try_wait()?.is_none() {
        most = most.max(highest_memory(child.id()).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    checked(most, output.status.success() && most > 0.0, said)
}

/// What was measured, where the program did its work or refused the limit.
fn checked(most: f64, done: bool, said: String) -> Result<(f64, String)> {
    let error = || said.lines().find(|line| line.contains("error")).unwrap_or("it ended without a word").to_owned();
    ensure!(done || estimate_in(&said).is_some(), "failed: {}", error());
    Ok((most, said))
}

/// What a refusal says that one row takes, in MiB.
fn estimate_in(said: &str) -> Option<f64> {
    let mut words = said.split_once("one row takes about ")?.1.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    Some(
        number
            * match words.next()? {
                "GiB" => 1024.0,
                _ => 1.0,
            },
    )
}

fn mebibytes(limit: &str) -> Result<f64> {
    let (number, unit) = limit.split_at(limit.find(|c: char| c.is_alphabetic()).unwrap_or(limit.len()));
    let factor = match unit {
        "MiB" => 1.0,
        "GiB" => 1024.0,
        _ => anyhow::bail!("`{limit}`: limits are in MiB or GiB here"),
    };
    Ok(number.parse::<f64>()? * factor)
}
