use super::support::Place;

#[test]
fn help_and_version_need_nothing() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["--version"], &["explain", "--help"], &["model", "layers", "--help"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code(), 0);
        assert!(ran.stdout().contains("faithful"), "{}", ran.stdout());
    }
    assert!(place.run(&["explain", "--help"]).stdout().contains("--method"));
}

#[test]
fn bad_usage_ends_with_two() {
    let place = Place::new();
    let wrong: [&[&str]; 7] = [
        &[],
        &["explian", "a.png"],
        &["explain"],
        &["explain", "a.png", "--draws", "0"],
        &["explain", "a.png", "--memory", "2 giraffes"],
        &["explain", "a.png", "--memory", "2GiB", "--batch", "3"],
        &["predict", "a.png", "--mean", "0.5,0.5,0.5"],
    ];
    for arguments in wrong {
        let ran = place.run(arguments);
        assert_eq!(ran.code(), 2, "{arguments:?}: {}", ran.stderr());
        assert!(!ran.stderr().is_empty());
    }
}

#[test]
fn methods_gradients_and_baselines_are_listed_for_people_and_programs() {
    let place = Place::new();
    for (list, some) in [("methods", "expected-grad-cam"), ("gradients", "expected"), ("baselines", "blur")] {
        let table = place.run(&[list]);
        assert_eq!((table.code(), table.stderr().as_str()), (0, ""));
        let objects = place.run(&[list, "--json"]).objects();
        assert!(objects.iter().any(|object| object["name"] == some));
        for object in &objects {
            assert!(object["summary"].as_str().unwrap().len() > 5, "{object}");
            let listed = table.stdout().lines().any(|line| line.starts_with(object["name"].as_str().unwrap()));
            assert!(listed, "{object}");
        }
    }
}

#[test]
fn models_are_listed_and_described() {
    let place = Place::new();
    let models = place.run(&["model", "list", "--json"]).objects();
    let of_place = |word: &str| models.iter().filter(|model| model["place"] == word).count();
    assert!(of_place("built-in") >= 1 && of_place("absent") >= 17, "{models:?}");
    assert!(place.run(&["model", "list"]).stdout().contains("vgg16"));

    let info = &place.run(&["model", "info", "--json"]).objects()[0];
    assert_eq!(info["outputs"].as_u64().unwrap() as usize, info["labels"].as_array().unwrap().len());
    assert!(info["input"].as_array().unwrap().len() == 3 && info["preprocessing"]["mean"].is_array(), "{info}");
    assert!(place.run(&["model", "info"]).stdout().contains("target layer"));

    let layers = place.run(&["model", "layers", "--json"]).objects();
    assert_eq!(layers.len() as u64, info["layers"].as_u64().unwrap());
    let targets: Vec<_> = layers.iter().filter(|layer| layer["target"] == true).collect();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0]["name"], info["target"]);
    assert_eq!(targets[0]["shape"], info["target_shape"]);
    let (side, input) = (&targets[0]["shape"][1], &info["input"][1]);
    let stride = input.as_f64().unwrap() / side.as_f64().unwrap();
    assert_eq!(targets[0]["stride"][0].as_f64().unwrap(), stride);
    assert!(place.run(&["model", "layers"]).stdout().contains("default target"));
}

/// `faithful methods | head -0`: nobody reads, and nobody is told.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    use std::process::Stdio;
    let place = Place::new();
    let mut child = place.command(&["methods"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn completions_and_manual_pages_come_from_the_program_itself() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.run(&["completions", shell]).stdout();
        assert!(script.contains("--baselines") && script.contains("compare"), "{shell}");
    }
    assert!(place.run(&["man"]).stdout().contains(".TH faithful 1"));
    assert_eq!(place.run(&["man", "--out", "man"]).code(), 0);
    let pages = place.names("man");
    assert!(
        pages.contains(&"faithful-explain.1".to_owned()) && pages.contains(&"faithful-model-layers.1".to_owned()),
        "{pages:?}"
    );
    assert_eq!(place.run(&["completions", "dos"]).code(), 2);
}

#[test]
fn nothing_is_coloured_or_cut_where_no_terminal_is() {
    let place = Place::new();
    for arguments in [&["methods"][..], &["metrics"], &["--help"], &["explian"]] {
        let ran = place.run(arguments);
        assert!(!ran.stdout().contains('\u{1b}') && !ran.stderr().contains('\u{1b}'), "{arguments:?}");
    }
    let longest = place.run(&["metrics"]).stdout().lines().map(|line| line.chars().count()).max();
    assert!(longest > Some(120), "whole lines for a file: {longest:?}");
    let scene = place.scene("a.png", 0);
    let ran = place.run(&["explain", scene.to_str().unwrap(), "--method", "grad-cam", "--show"]);
    assert!(ran.code() == 0 && ran.stderr().contains("--show") && !ran.stdout().contains('\u{1b}'), "{}", ran.stderr());
    let quiet = place.run(&["explain", scene.to_str().unwrap(), "--method", "grad-cam", "--show", "--quiet"]);
    assert_eq!((quiet.code(), quiet.stderr().as_str()), (0, ""));
}
