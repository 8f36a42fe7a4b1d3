use super::browser::Tab;
use super::support::{Place, fixture, name};
use faithful_report::decode_npy;
use serde_json::Value;
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
    let ran = place.run(
        &[&train[..], &["--epochs", "1", "--validation", "0.2", "--age", "--out", "p.safetensors", "--json"]].concat(),
    );
    let sensors = ran.objects()[0]["sensors"].as_array().unwrap().clone();
    assert_eq!((sensors.len(), sensors[10].as_str()), (11, Some("cycle")));
    assert_eq!(place.names("."), ["p.json", "p.safetensors", "pumps.csv"]);
    let evaluate = ["rul", "evaluate", "--data", "pumps.csv", "--model", "p.safetensors", "--methods", "grad-cam"];
    let found = place.run(&[&evaluate[..], &["--out", "run", "--json"]].concat()).objects();
    assert_eq!(found[0]["scores"]["count"], 5);
    assert!(found.iter().any(|line| line["metric"] == "drop@30"));
    assert!(found.iter().any(|line| line["metric"] == "insertion@cycles"));
    assert_eq!(found[0]["intervals"]["level"], 0.9);
    assert!(place.names("run").contains(&"predictions.svg".to_owned()));
    // A machine that is too young for the network, and one whose life nobody knows.
    let text = std::fs::read_to_string(place.path("pumps.csv")).unwrap();
    let lines = |count: usize| text.lines().take(1 + count).collect::<Vec<_>>().join("\n");
    place.file("young.csv", lines(5).as_bytes());
    let young = ["rul", "evaluate", "--data", "young.csv", "--model", "p.safetensors", "--out", "young"];
    let ran = place.run(&[&young[..], &["--json"]].concat());
    assert_eq!(ran.objects()[0]["scores"]["count"], 1);
    let said = "1 of 1 machines of young have fewer cycles than the 10 that the network has learnt from: 1 (5)";
    assert!(
        ran.stderr().contains(said) && ran.objects()[0]["note"].as_str().unwrap().contains(said),
        "{}",
        ran.stderr()
    );
    place.file("unknown.csv", lines(60).replace(",rul,", ",other,").as_bytes());
    let unknown = ["rul", "evaluate", "--data", "unknown.csv", "--model", "p.safetensors", "--out", "unknown"];
    place.run(&unknown).refused(2, &["not known", "`rul`"]);
    assert_eq!(place.names("unknown"), [""; 0]);
    // With fewer cycles asked for, its first reading is repeated.
    let options = ["--window", "30", "--shortest", "4", "--stride", "9", "--epochs", "1", "--validation", "0.2"];
    let train = ["rul", "train", "--data", "pumps.csv", "--model", "cnn-lstm", "--out", "short.safetensors"];
    assert_eq!(place.run(&[&train[..], &options].concat()).code(), 0);
    let explain = ["rul", "explain", "--data", "young.csv", "--model", "short.safetensors", "--out", "short", "--json"];
    let found = &place.run(&[&explain[..], &["--method", "gradient-times-input,grad-cam"]].concat()).objects()[0];
    assert_eq!(found["cycles"], serde_json::json!([1, 2, 3, 4, 5]));
    assert_eq!(found["explanations"][0]["map"][0].as_array().unwrap().len(), 5);
    assert_eq!(found["explanations"][1]["timeline"].as_array().unwrap().len(), 5);
    let wrong = place.run(&["rul", "evaluate", "--data", "pumps.csv", "--model", "pumps.csv"]);
    wrong.refused(1, &["pumps"]);
    let cut = std::fs::read(place.path("p.safetensors")).unwrap();
    place.file("p.safetensors", &cut[..cut.len() - 9]);
    place.run(&evaluate[..6]).refused(1, &["p.safetensors", "cut off"]);
}

/// Networks that each leave out machines of their own give intervals, and a folder of tables is told in one pass.
#[test]
fn a_folder_of_tables_is_told_with_intervals_sensors_and_what_is_missing() {
    let place = Place::new();
    let draw = |file: &str, units: &str, more: &[&str]| {
        place.run(&[&["rul", "draw", file, "--units", units, "--regimes", "3"], more].concat()).code()
    };
    assert_eq!(draw("failed.csv", "24", &[]), 0);
    let train = ["rul", "train", "--data", "failed.csv", "--model", "cnn-lstm", "--window", "10", "--stride", "9"];
    let more = ["--epochs", "1", "--members", "2", "--loss", "nasa", "--out", "p.safetensors", "--json"];
    let ran = place.run(&[&train[..], &more].concat());
    assert_eq!((ran.objects()[0]["refit"].as_bool(), ran.objects()[0]["members"].as_u64()), (Some(false), Some(2)));
    let about: Value = serde_json::from_slice(&std::fs::read(place.path("p.json")).unwrap()).unwrap();
    assert_eq!(about["training"]["left_out"][1].as_array().unwrap().len(), 12);
    assert_eq!(about["preparation"]["conditions"].as_array().unwrap().len(), 3);

    std::fs::create_dir(place.path("fleet")).unwrap();
    assert_eq!(draw("fleet/field.csv", "3", &["--stopped"]), 0);
    let field = std::fs::read(place.path("fleet/field.csv")).unwrap();
    let text = std::fs::read_to_string(place.path("failed.csv")).unwrap();
    // Another pump by semicolons, ordered by time; a reading and three cycles are missing, and one sensor says nothing.
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| lines[0].iter().position(|own| *own == name).unwrap();
    let (cycle, flow, speed) = (column("cycle"), column("flow"), column("speed"));
    let own = lines[1..].iter().filter(|line| line[0] == "1").take(30).enumerate();
    let row = |(place, line): (usize, &Vec<&str>)| {
        let mut cells: Vec<String> = line.iter().map(|cell| (*cell).to_owned()).collect();
        cells[0] = "north, 7".into();
        cells[flow] = if place == 25 { String::new() } else { cells[flow].clone() };
        cells[speed] = "NaN".into();
        cells.join(";")
    };
    let rows: Vec<String> = own.map(row).collect();
    let few = [&rows[..20], &rows[23..]].concat().join("\n");
    place.file("fleet/north.csv", format!("{}\n{few}\n", lines[0].join(";")).as_bytes());
    assert_eq!(cycle, 1);

    let predict = ["rul", "predict", "--data", "fleet", "--model", "p.safetensors"];
    let found = place.run(&[&predict[..], &["--out", "p.csv", "--json"]].concat()).objects();
    assert_eq!(found.len(), 4);
    assert!(found[0]["interval"]["low"].as_f64() <= found[0]["interval"]["high"].as_f64());
    let north = found.iter().find(|line| line["machine"] == "north, 7").unwrap();
    assert_eq!((north["missing_cycles"].as_u64(), north["cycle"].as_u64()), (Some(3), Some(30)));
    assert_eq!(
        (&north["silent"], north["missing_readings"].as_u64()),
        (&serde_json::json!(["speed"]), Some(3 * 10 + 7 + 1))
    );
    let table = std::fs::read_to_string(place.path("p.csv")).unwrap();
    assert!(table.starts_with("table,unit,cycle,life,low,high,level,remaining,sensor_1,"), "{table}");
    assert!(table.lines().count() == 5 && table.contains("north,\"north, 7\",30,"), "{table}");
    let said = place.run(&[&predict[..], &["--course", "smooth", "--top", "0"]].concat());
    assert!(
        said.stdout().contains("engine north, 7: ") && said.stdout().contains("3 cycles missing"),
        "{}",
        said.stdout()
    );
    // A table that cannot be read is said, and the others are told.
    place.file("fleet/odd.csv", b"unit,cycle\n1,x\n");
    let ran = place.run(&[&predict[..], &["--course", "monotone", "--out", "p.parquet"]].concat());
    assert!(
        ran.code() == 1 && ran.stderr().contains("odd.csv") && place.path("p.parquet").exists(),
        "{}",
        ran.stderr()
    );
    // A machine in two tables is refused, and no file is left.
    place.file("fleet/odd.csv", &field);
    let twice = place.run(&[&predict[..], &["--out", "twice.csv"]].concat());
    assert!(twice.code() == 2 && twice.stderr().contains("machine 1 stands in field and in odd"), "{}", twice.stderr());
    assert!(!place.path("twice.csv").exists());
}

/// Lines of C-MAPSS: engines of these lengths.
pub(crate) fn series(lengths: &[usize]) -> String {
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

/// The same weights in both layouts, exported by another exporter and with another batch.
#[test]
fn an_onnx_network_is_explained_the_same_in_every_layout() {
    let place = Place::new();
    let explain = |file: &str, layout: &str, out: &str| {
        let model = fixture("goldens/rul").join(file);
        let arguments =
            ["rul", "explain", "--model", name(&model), "--layout", layout, "--engines", "1,3", "--out", out];
        let more = ["--method", "grad-cam,expected-grad-cam,saliency,expected-gradients,occlusion", "--draws", "8"];
        place.run(&[&arguments[..], &more, &["--json"]].concat()).objects()
    };
    let close = |a: &Value, b: &Value| {
        let numbers = |value: &Value| -> Vec<f64> {
            let flat =
                |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
            if value[0].is_array() { value.as_array().unwrap().iter().flat_map(flat).collect() } else { flat(value) }
        };
        let (a, b) = (numbers(a), numbers(b));
        let largest = a.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0 && a.len() == b.len());
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-4 * largest)
    };
    let first = explain("script17_convlstm_st.onnx", "sensors-time", "first");
    for (file, layout) in [
        ("dynamo18_convlstm_ts.onnx", "time-sensors"),
        ("script18_convlstm_ts_fixed.onnx", "time-sensors"),
        ("script17_squeezed_st.onnx", "sensors-time"),
    ] {
        let other = explain(file, layout, "other");
        for (a, b) in first.iter().zip(&other) {
            assert!((a["predicted"].as_f64().unwrap() - b["predicted"].as_f64().unwrap()).abs() < 1e-3, "{file}");
            for (a, b) in a["explanations"].as_array().unwrap().iter().zip(b["explanations"].as_array().unwrap()) {
                assert!(close(&a["timeline"], &b["timeline"]), "{file}: {}", a["method"]);
                assert!(a["map"].is_null() || close(&a["map"], &b["map"]), "{file}: {}", a["method"]);
            }
        }
    }
    // A file that leaves the number of cycles open is told it.
    let open = fixture("goldens/rul/script17_convlstm_st_open.onnx");
    let arguments = ["rul", "explain", "--model", name(&open), "--engines", "1,3", "--method", "saliency", "--out"];
    let found = place.run(&[&arguments[..], &["open", "--window", "24", "--json"]].concat()).objects();
    let same = |of: &Value| of["predicted"].as_f64().unwrap();
    assert!((same(&found[0]) - same(&first[0])).abs() < 1e-3);
    place.run(&[&arguments[..], &["none"]].concat()).refused(1, &["--window"]);
    // Without a convolution there is no layer to draw maps from, and the inputs are explained all the same.
    let bilstm = fixture("goldens/rul/dynamo18_bilstm_ts.onnx");
    let arguments =
        ["rul", "explain", "--model", name(&bilstm), "--layout", "time-sensors", "--engines", "1", "--method"];
    assert_eq!(place.run(&[&arguments[..], &["integrated-gradients", "--out", "own"]].concat()).code(), 0);
    place.run(&[&arguments[..], &["grad-cam", "--out", "none"]].concat()).refused(2, &["--layer"]);
    let wrong = ["rul", "explain", "--model", name(&bilstm), "--engines", "1", "--out", "none"];
    place.run(&wrong).refused(2, &["--layout"]);
    assert_eq!(place.names("none"), [""; 0]);
}

/// A network that gives shares of 125 cycles is told so, by the command or by the JSON beside it.
#[test]
fn what_an_onnx_network_gives_is_brought_to_cycles() {
    let place = Place::new();
    let bytes = std::fs::read(fixture("goldens/rul").join("script17_convlstm_st.onnx")).unwrap();
    place.file("net.onnx", &bytes);
    let run = ["rul", "explain", "--model", "net.onnx", "--engines", "1", "--method", "saliency", "--score", "life"];
    let explain =
        |more: &[&str]| place.run(&[&run[..], &["--out", "out", "--json"], more].concat()).objects().remove(0);
    let first = |found: &Value| {
        let explanation = &found["explanations"][0];
        let number = |value: &Value| value.as_f64().unwrap();
        (number(&found["predicted"]), number(&explanation["score"]), number(&explanation["timeline"][20]))
    };
    let (plain, score, saliency) = first(&explain(&[]));
    let scaled = explain(&["--output-scale", "-0.25", "--output-shift", "60"]);
    place.file(
        "net.json",
        br#"{"output_scale": -0.25, "output_shift": 60, "layout": "sensors-time", "notes": "a test"}"#,
    );
    assert_eq!(first(&scaled), first(&explain(&[])));
    let (predicted, scaled_score, scaled_saliency) = first(&scaled);
    assert!((predicted - (60.0 - 0.25 * score)).abs() < 1e-3 && (predicted - scaled_score).abs() < 1e-3, "{predicted}");
    assert!((scaled_saliency - 0.25 * saliency).abs() < 1e-5 && plain != predicted, "{saliency} {scaled_saliency}");
    place.run(&[&run[..], &["--out", "none", "--output-scale", "0"]].concat()).refused(2, &["output-scale"]);
    place.file("net.json", br#"{"output_scal": 125}"#);
    place.run(&[&run[..], &["--out", "none"]].concat()).refused(1, &["net.json", "output_scal"]);
    assert_eq!(place.names("none"), [""; 0]);
}

#[test]
fn maps_weighted_by_scores_see_wear() {
    let place = Place::new();
    let run = ["rul", "explain", "--engines", "1,2,3", "--method", "poly-cam+,score-cam", "--out", "out", "--json"];
    for engine in place.run(&run).objects() {
        for explanation in engine["explanations"].as_array().unwrap() {
            let timeline = explanation["timeline"].as_array().unwrap();
            assert!(timeline.iter().any(|value| value.as_f64().unwrap() > 0.0), "{explanation}");
        }
    }
}

#[test]
fn the_page_of_a_run_shows_lives_the_fleet_and_every_machine() {
    let place = Place::new();
    let run = ["rul", "explain", "--engines", "1,2,5", "--method", "grad-cam,expected-gradients", "--draws", "8"];
    assert_eq!(place.run(&[&run[..], &["--out", "maps"]].concat()).code(), 0);
    let evaluate = ["rul", "evaluate", "--methods", "grad-cam,layer-cam", "--out", "maps"];
    assert_eq!(place.run(&evaluate).code(), 0);
    let Some(mut tab) = Tab::new() else { return };
    tab.open_file(&place.path("maps/explain.html"));
    tab.until("document.querySelectorAll('.heat canvas').length === 3");
    // A heat map names its sensors, and its cells have the map's values.
    let rows = tab.text("document.querySelector('.heat .rows').textContent");
    assert!(rows.contains("vibration") && rows.contains("oil_pressure"), "{rows}");
    let map = decode_npy(&std::fs::read(place.path("maps/machine-1.expected-gradients.npy")).unwrap()).unwrap();
    let at = tab.place_in(".heat canvas", 0.5 / map.width() as f64, 0.5 / map.height() as f64);
    tab.move_to(at);
    tab.settle();
    let read = tab.text("document.querySelector('.heat .reading b').textContent");
    let (read, value): (f64, f64) = (read.parse().unwrap(), map.values()[0].into());
    assert!((read - value).abs() <= value.abs() * 0.01 + 1e-3, "{read} {value}");
    // From the table of errors to a machine.
    tab.click("section:nth-of-type(2) tbody tr:nth-child(2) th a");
    tab.until("location.hash === '#at-machine-1'");
    let heading = tab.text("document.querySelector(':target h2').textContent");
    assert!(heading.starts_with("Machine 2: "), "{heading}");
    let faults = tab.text("document.querySelector('section:nth-of-type(3) thead').textContent");
    assert!(faults.contains("bearing, 2 machines") && faults.contains("seal, 1 machine"), "{faults}");
    tab.eval("window.scrollTo(0, 0)");
    tab.accessible();
    tab.screenshot("rul");
    tab.media("prefers-color-scheme", "dark");
    tab.open_file(&place.path("maps/explain.html"));
    tab.accessible();
    tab.screenshot("rul-dark");
    tab.size(390, 844);
    tab.open_file(&place.path("maps/explain.html"));
    assert_eq!(tab.number("document.documentElement.scrollWidth"), 390.0, "nothing sticks out of a phone");
    tab.accessible();
    tab.screenshot("rul-phone");
    tab.size(1280, 900);
    tab.open_file(&place.path("maps/evaluate.html"));
    let methods = tab.text("document.querySelector('section:nth-of-type(3) tbody').textContent");
    assert!(methods.contains("grad-cam") && methods.contains("layer-cam"), "{methods}");
    tab.accessible();
    assert_eq!(tab.problems(), Vec::<String>::new());
}
