use crate::shell::{cargo, run};

/// What is run: package, example or program, arguments. The other examples are timings and chores, which take long or
/// write files; `cargo test` compiles them.
const EXAMPLES: &[(&str, &str, &[&str])] = &[
    ("faithful-kernel", "same_on_every_processor", &[]),
    ("faithful-tensor", "right_gradients", &[]),
    ("faithful-core", "score_of_ones_own", &[]),
    ("faithful-model", "inside_an_onnx", &[]),
    ("faithful-baseline", "draws", &[]),
    ("faithful-gradient", "one_model_many_attributions", &[]),
    ("faithful-attention", "where_tokens_attend", &[]),
    ("faithful-frequency", "fine_and_coarse", &[]),
    ("faithful-cam", "any_rule_any_gradient", &[]),
    ("faithful-metric", "measure_a_map", &[]),
    ("faithful-data", "prepare_a_photo", &[]),
    ("faithful-rul", "explain_a_pump", &[]),
    ("faithful-parquet", "rows_of_a_file", &[]),
    ("faithful-evaluate", "small_run", &[]),
    ("faithful-explain", "one_photo_two_methods", &[]),
    ("faithful", "every_method", &[]),
    ("faithful-report", "lay_a_map_on_a_photo", &[]),
    ("faithful-page", "chart_page", &[]),
    ("faithful-serve", "measure_photos", &["--check"]),
    ("faithful-fetch", "what_there_is", &[]),
];

/// The programs of the package `faithful-examples`.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("photo_to_map", &["fixtures/scenes/dotted-star.png", "target/dotted-star.png"]),
    ("own_model", &[]),
    ("heat_map_service", &["--check", "fixtures/scenes/dotted-star.png"]),
    ("axum_service", &["--check", "fixtures/scenes/dotted-star.png"]),
    ("batch_job", &["fixtures/scenes", "target/batch-job"]),
];

/// Runs every example that shows how a crate is used. They are built together first: packages that are built one by one
/// would unite the features of their dependencies anew.
pub(crate) fn run_all() -> anyhow::Result<()> {
    run(&mut cargo(&["build", "--workspace", "--examples", "--bins"]))?;
    let folder = crate::shell::root().join("target/debug");
    let programs = EXAMPLES.iter().map(|(_, name, arguments)| (format!("examples/{name}"), arguments));
    for (program, arguments) in programs.chain(PROGRAMS.iter().map(|(name, arguments)| ((*name).to_owned(), arguments)))
    {
        let mut command = std::process::Command::new(folder.join(program));
        run(command.current_dir(crate::shell::root()).args(*arguments).stdout(std::process::Stdio::null()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_crate_has_an_example_that_is_run() {
        let crates = std::fs::read_dir(crate::shell::root().join("crates")).unwrap();
        for entry in crates {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // The Python package's examples are Python's, and its tests run them.
            if name != "python" && path.join("src/lib.rs").exists() {
                // The facade is called as the whole is.
                let package = if name == "faithful" { name.clone() } else { format!("faithful-{name}") };
                let found = EXAMPLES.iter().find(|(known, ..)| *known == package);
                let (_, example, _) = found.unwrap_or_else(|| panic!("{package} has no example"));
                assert!(path.join(format!("examples/{example}.rs")).exists(), "{package}: {example}");
            }
        }
    }
}
