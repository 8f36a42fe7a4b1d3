use super::support::Place;
use std::fmt::Write;

#[test]
fn machines_are_explained_with_nothing_but_the_program() {
    let place = Place::new();
    let arguments = ["rul", "explain", "--engines", "1,2", "--method", "integrated-gradients,grad-cam,score-cam"];
    let ran = place.run(&[&arguments[..], &["--draws", "8", "--out", "maps", "--json"]].concat());
    let engines = ran.objects();
    assert_eq!(engines.len(), 2);
    let drivers = engines[0]["explanations"][0]["drivers"].as_array().unwrap();
    assert_eq!(drivers.len(), 10);
    assert_eq!(
        engines[0]["explanations"][1]["timeline"].as_array().unwrap().len(),
        engines[0]["cycles"].as_array().unwrap().len()
    );
    assert!(engines[0]["explanations"][1]["map"].is_null());
    let names = place.names("maps");
    for file in [
        "explain.json",
        "explanations.parquet",
        "fleet.integrated-gradients.png",
        "machine-1.grad-cam.npy",
        "machine-2.integrated-gradients.svg",
        "machine-2.score-cam.png",
    ] {
        assert!(names.iter().any(|name| name == file), "{file} is not among {names:?}");
    }
    // The same seed gives the same maps, whatever else is explained.
    let alone = ["rul", "explain", "--engines", "2", "--method", "grad-cam", "--out", "alone"];
    assert_eq!(place.run(&alone).code(), 0);
    let read = |path: &str| std::fs::read(place.path(path)).unwrap();
    assert_eq!(read("alone/machine-2.grad-cam.npy"), read("maps/machine-2.grad-cam.npy"));
}

#[test]
fn a_table_of_ones_own_is_learnt_and_evaluated() {
    let place = Place::new();
    assert_eq!(place.run(&["rul", "draw", "pumps.csv", "--units", "5"]).code(), 0);
    let train = ["rul", "train", "--data", "pumps.csv", "--model", "cnn-lstm", "--window", "10", "--stride", "9"];
    let ran = place
        .run(&[&train[..], &["--epochs", "1", "--validation", "0.2", "--out", "p.safetensors", "--json"]].concat());
    assert_eq!(ran.objects()[0]["sensors"].as_array().unwrap().len(), 10);
    assert_eq!(place.names("."), ["p.json", "p.safetensors", "pumps.csv"]);
    let evaluate = ["rul", "evaluate", "--data", "pumps.csv", "--model", "p.safetensors", "--methods", "grad-cam"];
    let found = place.run(&[&evaluate[..], &["--out", "run", "--json"]].concat()).objects();
    assert_eq!(found[0]["scores"]["count"], 5);
    assert!(found.iter().any(|line| line["metric"] == "drop@30"));
    assert!(place.names("run").contains(&"predictions.svg".to_owned()));
    let wrong = place.run(&["rul", "evaluate", "--data", "pumps.csv", "--model", "pumps.csv"]);
    wrong.refused(1, &["pumps"]);
    let cut = std::fs::read(place.path("p.safetensors")).unwrap();
    place.file("p.safetensors", &cut[..cut.len() - 9]);
    place.run(&evaluate[..6]).refused(1, &["p.safetensors", "cut off"]);
}

/// Lines of C-MAPSS: engines of these lengths.
fn series(lengths: &[usize]) -> String {
    let mut text = String::new();
    for (unit, &length) in lengths.iter().enumerate() {
        for cycle in 1..=length {
            let sensors: Vec<String> = (0..21).map(|s| format!("{}", (cycle * (s + 3)) % 17)).collect();
            writeln!(text, "{} {cycle} 0.0 0.1 100.0 {} \r", unit + 1, sensors.join(" ")).unwrap();
        }
    }
    text
}

#[test]
fn what_cannot_be_learnt_from_is_refused_in_one_line_and_nothing_is_written() {
    let place = Place::new();
    let train = |set: &str, data: &str| {
        place.run(&["rul", "train", "--set", set, "--data", data, "--out", "out.safetensors", "--window", "10"])
    };
    let whole = series(&[40, 30]);
    let cases = [
        (whole.replacen("100.0", "", 1), "line 1: 25 columns"),
        (whole.replacen("100.0", "nan", 1), "line 1: column 5 (tra)"),
        (whole.replacen("\n2 1 ", "\n3 1 ", 1), "line 41: engine 2 is missing"),
        (series(&[40, 5]), "window of 10: 2 (5)"),
        (series(&[40]), "too few"),
    ];
    for (text, word) in cases {
        place.file("data/train_FD001.txt", text.as_bytes());
        let ran = train("FD001", "data");
        assert_ne!(ran.code(), 0);
        ran.refused(ran.code(), &[word]);
    }
    train("FD007", "data").refused(2, &["no set `FD007`"]);
    train("FD002", "data").refused(1, &["train_FD002.txt"]);
    place.run(&["rul", "train", "--set", "FD001"]).refused(2, &["--data"]);
    place.run(&["rul", "train", "--set", "synthetic", "--rate", "fast"]).refused(2, &["rate", "`fast`"]);
    place.run(&["rul", "train", "--model", "cnn"]).refused(2, &["`cnn`"]);
    assert!(!place.path("out.safetensors").exists() && !place.path("out.checkpoint").exists());

    place.file("data/test_FD001.txt", series(&[40, 30]).as_bytes());
    let lives = place.file("data/RUL_FD001.txt", b"10\r\n");
    let evaluate = || place.run(&["rul", "evaluate", "--set", "FD001", "--data", "data", "--out", "run"]);
    evaluate().refused(1, &["1 remaining lives for the 2 engines"]);
    std::fs::write(lives, "10\n20\n").unwrap();
    // The built-in network reads other sensors.
    evaluate().refused(1, &["no sensor"]);
    place.run(&["rul", "explain", "--engines", "99"]).refused(2, &["no engine `99`"]);
    place.run(&["rul", "explain", "--at", "3"]).refused(2, &["window"]);
    place.run(&["rul", "explain", "--method", "grad-camm"]).refused(2, &["`grad-cam`"]);
    place.run(&["rul", "explain", "--baselines", "healty"]).refused(2, &["`healthy`"]);
    assert_eq!(place.names("run"), [""; 0]);
}
