use crate::shell::{cargo, root, run};

/// Format, lints, each crate alone, docs with warnings denied, the README's test command, the Python package's tests, and the examples.
/// The wheel itself has `cargo xtask wheel`: as a package alone it builds most dependencies a second time, with other features.
pub(crate) fn run_all() -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    each_alone()?;
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    run(&mut cargo(&["test", "--workspace"]))?;
    crate::wheel::tests()?;
    crate::examples::run_all()
}

/// Every crate with its own features only, as another project has it: in the workspace, one crate's features help out others.
fn each_alone() -> anyhow::Result<()> {
    let crates = std::fs::read_dir(root().join("crates"))?;
    let mut names: Vec<String> =
        crates.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<anyhow::Result<_>>()?;
    names.sort();
    for name in names {
        // The facade carries the project's name alone.
        let package = if name == "faithful" { name } else { format!("faithful-{name}") };
        run(&mut cargo(&["check", "--quiet", "--package", &package]))?;
    }
    // What is left of the command without its default features.
    run(&mut cargo(&["check", "--quiet", "--package", "faithful-cli", "--no-default-features"]))
}
