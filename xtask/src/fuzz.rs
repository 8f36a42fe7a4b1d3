use crate::shell::{root, run};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// What `fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// Which kinds of input; all, one after the other, by default
    kinds: Vec<String>,
    /// How long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Bytes of memory beyond which an input counts as a crash, in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u64,
}

/// The kinds, by the seeds and targets that there are.
fn known() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("fuzz/targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Runs the fuzzing targets by cargo-fuzz on the workspace's own toolchain: without a sanitizer, which needs a nightly
/// one, but with debug assertions and checks of overflow.
pub(crate) fn fuzz(arguments: &Fuzz) -> Result<()> {
    let known = known()?;
    let kinds = if arguments.kinds.is_empty() { &known } else { &arguments.kinds };
    // The same versions as the workspace's, as far as it has them.
    let lock = root().join("fuzz/Cargo.lock");
    if !lock.exists() {
        std::fs::copy(root().join("Cargo.lock"), &lock).context("cannot copy Cargo.lock")?;
    }
    for kind in kinds {
        ensure!(known.contains(kind), "no kind `{kind}`; there are {}", known.join(", "));
        let folder = |place: &str| root().join(place).display().to_string();
        let found = folder(&format!("fuzz/corpus/{kind}"));
        std::fs::create_dir_all(&found)?;
        let mut corpora = vec![found, folder(&format!("fuzz/seeds/{kind}"))];
        match kind.as_str() {
            "onnx" => corpora.push(folder("fixtures/goldens/onnx")),
            "photo" => corpora.push(folder("fixtures/goldens/data/photos")),
            _ => {}
        }
        corpora.retain(|corpus| Path::new(corpus).exists());
        let mut command = Command::new("cargo");
        command.current_dir(root()).args(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none", kind]);
        command.args(corpora).arg("--").args([
            format!("-max_total_time={}", arguments.seconds),
            format!("-rss_limit_mb={}", arguments.memory),
            "-timeout=20".into(),
            "-max_len=65536".into(),
            "-print_final_stats=1".into(),
        ]);
        run(&mut command).context("cargo-fuzz is needed: `cargo install cargo-fuzz`")?;
    }
    Ok(())
}
