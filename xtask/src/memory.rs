use crate::shell::{cargo, root, run};
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
    /// What is done with them: `explain`, `compare`, `atlas`, `evaluate` with --crop none, `sanity`, `predict`
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
    /// The program, where it is built already; a release build by default
    #[arg(long)]
    program: Option<PathBuf>,
    /// More options of the commands, such as `--crop none --resize 2000`
    #[arg(last = true)]
    options: Vec<String>,
}

const COMMANDS: [&str; 6] = ["explain", "compare", "atlas", "evaluate", "sanity", "predict"];

/// Runs commands under `--memory` and prints the most that the process ever had in memory, beside the limit.
pub(crate) fn check(arguments: &MemoryCheck) -> Result<()> {
    let program = if let Some(program) = &arguments.program {
        program.clone()
    } else {
        run(&mut cargo(&["build", "--release", "--package", "faithful-cli"]))?;
        root().join("target/release/faithful")
    };
    let out = std::env::temp_dir().join(format!("faithful-memory-{}", std::process::id()));
    let models: Vec<Option<&String>> =
        if arguments.model.is_empty() { vec![None] } else { arguments.model.iter().map(Some).collect() };
    println!("| command | network | photo | method | limit | most, MiB | of the limit | |");
    println!("|---|---|---|---|---|--:|--:|---|");
    for (index, model) in models.iter().enumerate() {
        for (place, photo) in arguments.photos.iter().enumerate() {
            // `atlas` and `evaluate` take folders.
            let folder = out.join(format!("photo-{index}-{place}"));
            std::fs::create_dir_all(&folder)?;
            std::fs::copy(photo, folder.join(photo.file_name().context("a photo has a name")?))?;
            for name in &arguments.commands {
                for method in &arguments.methods {
                    for limit in &arguments.limits {
                        let mut command = Command::new(&program);
                        command.arg(name).args(["--memory", limit]);
                        asked(&mut command, name, method, photo, &folder, &out.join(format!("{name}-{limit}")));
                        command.args(model.iter().flat_map(|model| ["--model", model.as_str()]));
                        let (most, note) = peak(command.args(&arguments.options))?;
                        let share = 100.0 * most / mebibytes(limit)?;
                        let of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let network = model.map_or_else(|| "built-in".into(), |model| of(Path::new(model)));
                        let photo = of(photo);
                        println!(
                            "| {name} | {network} | {photo} | {method} | {limit} | {most:.0} | {share:.0}% | {note} |"
                        );
                        // A run is not gone on with.
                        let _ = std::fs::remove_dir_all(out.join(format!("{name}-{limit}")));
                    }
                    if name == "predict" {
                        break;
                    }
                }
            }
        }
    }
    Ok(std::fs::remove_dir_all(out)?)
}

/// What `command`, called `name`, is told besides its limit.
fn asked(command: &mut Command, name: &str, method: &str, photo: &Path, folder: &Path, out: &Path) {
    // As many draws as there may be rows: fewer would not fill what is allowed.
    let draws = !["grad-cam", "score-cam", "hyper-expected-grad-cam"].contains(&method);
    match name {
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
    if draws && ["explain", "compare", "atlas", "sanity"].contains(&name) {
        command.args(["--draws", "200"]);
    }
}

/// The most memory that a program ever had, in MiB, and what it said of the limit.
fn peak(command: &mut Command) -> Result<(f64, String)> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start faithful")?;
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0f64;
    while child.try_wait()?.is_none() {
        // The system's own mark of the highest: nothing between two looks is missed but the end.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        most = most.max(value.unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = said.contains("one row takes about");
    ensure!(refused || (output.status.success() && most > 0.0), "faithful failed: {said}");
    Ok((most, if refused { "refused: one row is more".into() } else { String::new() }))
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
