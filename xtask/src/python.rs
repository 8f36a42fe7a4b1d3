use crate::shell::{cargo, root, run};
use std::path::PathBuf;
use std::process::Command;

/// What `python-docs` takes.
#[derive(clap::Args)]
pub(crate) struct PythonDocs {
    /// A Python that has the versions which docs/python.md names
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Run with other versions too
    #[arg(long)]
    any_version: bool,
}

/// Runs every snippet of docs/python.md, with the package that `cargo xtask wheel` built.
pub(crate) fn docs(arguments: &PythonDocs) -> anyhow::Result<()> {
    let package = crate::wheel::package();
    if !package.exists() {
        anyhow::bail!("there is no `{}`; `cargo xtask wheel` builds the Python package first", package.display());
    }
    run(&mut cargo(&["build", "--package", "faithful-cli"]))?;
    let mut command = Command::new(&arguments.python);
    command.current_dir(root()).args(["docs/python_check.py", "--faithful", "target/debug/faithful"]);
    command.env("PYTHONPATH", package);
    run(command.args(arguments.any_version.then_some("--any-version")))
}
