//! The table of seconds per explanation beside the peers (the thesis's Table 6).

use crate::shell::{cargo, root};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct BenchMethods {
    /// The Python that has torchvision, torchcam and grad-cam; without it only this program is timed
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// Only these methods; the masking methods take minutes each
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the table goes
    #[arg(long, value_name = "FILE", default_value = "docs/results/methods.md")]
    out: PathBuf,
}

/// Times every method here and at the peers, one after the other on the same machine, and writes the table.
pub(crate) fn run(arguments: &BenchMethods) -> Result<()> {
    crate::shell::run(&mut cargo(&["build", "--release", "-p", "faithful-tests", "--example", "method_times"]))?;
    let example = root().join("target/release/examples/method_times");
    let own = lines(Command::new(example).args(&arguments.only))?;
    let peers = match &arguments.peer {
        Some(python) => {
            let script = root().join("xtask/peers/method_times.py");
            lines(Command::new(python).arg(script).args(&arguments.only))?
        }
        None => Vec::new(),
    };
    let table = table(&own, &peers);
    let out = root().join(&arguments.out);
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&out, &table).with_context(|| format!("could not write {}", out.display()))?;
    print!("{table}");
    Ok(())
}

/// The JSON lines that a command prints.
fn lines(command: &mut Command) -> Result<Vec<Value>> {
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} failed with {}", command.get_program().display(), output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn table(own: &[Value], peers: &[Value]) -> String {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let seconds = |line: &Value| line["seconds"].as_f64().unwrap_or(f64::NAN);
    let mut of_peer: BTreeMap<(String, String), f64> = BTreeMap::new();
    for line in peers {
        of_peer.insert((text(line, "method"), text(line, "peer")), seconds(line));
    }
    let forward = own.iter().find(|line| line["method"] == "forward").map_or(f64::NAN, seconds);
    let mut table = String::from(
        "# Seconds per explanation\n\nVGG16, 224x224, f32, random weights, batches of 8; Expected Grad-CAM and its kin with 50 draws and their\nbaselines \
         cached; Smooth Grad-CAM++ with 4. Made by `cargo xtask bench-methods`.\n\n",
    );
    table += "| method | faithful | of 50 forward passes | TorchCAM | pytorch-grad-cam |\n|---|---|---|---|---|\n";
    for line in own {
        let method = text(line, "method");
        let own = seconds(line);
        let peer = |name: &str| {
            let found = of_peer.get(&(method.clone(), name.to_owned()));
            found.map_or_else(|| "–".to_owned(), |peer| format!("{peer:.3} ({:.2}x)", peer / own))
        };
        let (first, second) = if method == "forward" {
            (peer("torch"), "–".into())
        } else {
            (peer("TorchCAM"), peer("pytorch-grad-cam"))
        };
        let _ = writeln!(table, "| {method} | {own:.3} | {:.2} | {first} | {second} |", own / forward);
    }
    table += "\nIn brackets: how many times longer the peer takes. `forward`: 50 forward passes; the peer there is PyTorch alone.\n";
    table
}
