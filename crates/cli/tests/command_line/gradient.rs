use super::support::{Place, fixture, name};
use faithful_report::decode_npy;

#[test]
fn gradient_methods_stop_trace_and_say_how_sure_they_are() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let explain = |more: &[&str]| place.run(&[&["explain", name(&photo), "--json"], more].concat()).objects().remove(0);
    let map = |line: &serde_json::Value| {
        decode_npy(&std::fs::read(place.path(line["files"]["map"].as_str().unwrap())).unwrap()).unwrap()
    };
    let expected = explain(&["--method", "expected-gradients", "--draws", "20", "--alphas", "stratified", "--trace"]);
    assert_eq!(expected["draws"], 20);
    let convergence = &expected["convergence"];
    let error = convergence["standard_error"].as_f64().unwrap();
    let wanted = (20.0 * (error / 0.05).powi(2)).ceil();
    assert!((convergence["draws_for_wanted_error"].as_f64().unwrap() - wanted).abs() <= 1.0);
    let trace = std::fs::read_to_string(place.path(expected["files"]["trace"].as_str().unwrap())).unwrap();
    let steps: Vec<serde_json::Value> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 20);
    assert_eq!(steps[19]["delta"], convergence["delta"]);
    // The map is what the gap is measured on: it has the photo's size and sums to the difference of scores.
    assert_eq!((map(&expected).height(), map(&expected).width()), (96, 96));

    let stopped = explain(&["--method", "integrated-gradients", "--draws", "300", "--stop", "delta:0.5"]);
    let convergence = &stopped["convergence"];
    assert_eq!((convergence["rule"].as_str(), convergence["satisfied"].as_bool()), (Some("delta"), Some(true)));
    assert!(stopped["draws"].as_u64().unwrap() < 300 && convergence["delta"].as_f64().unwrap().abs() < 0.5);
    let never = explain(&["--method", "expected-gradients", "--draws", "8", "--stop", "difference:1e-12"]);
    assert_eq!((never["draws"].as_u64(), never["convergence"]["satisfied"].as_bool()), (Some(8), Some(false)));
    assert!(never["note"].as_str().unwrap().contains("more draws"));
}

#[test]
fn every_score_can_be_attributed() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let score = |score: &str| {
        let arguments = ["explain", name(&photo), "--method", "saliency", "--class", "0", "--score", score, "--json"];
        place.run(&arguments).objects()[0]["score"].as_f64().unwrap()
    };
    let (logit, other, margin) = (score("logit"), score("margin:0"), score("margin:1"));
    assert_eq!(other, 0.0);
    assert!((score("probability").ln() - score("log-probability")).abs() < 1e-4);
    assert!(margin != logit && margin != 0.0);
}

#[test]
fn gradient_methods_explain_a_layer() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    place.scene("folder/a.png", 5);
    place.scene("folder/b.png", 6);
    let layers = place.run(&["model", "layers", "--json"]).objects();
    let relu = layers.iter().filter(|layer| layer["kind"] == "relu").nth(1).unwrap();
    let layer = relu["name"].as_str().unwrap();
    let methods = place.run(&["methods", "--json"]).objects();
    for method in methods.iter().filter(|method| method["family"] == "gradient") {
        let method = method["name"].as_str().unwrap();
        let arguments = ["explain", name(&photo), "--method", method, "--layer", layer, "--draws", "4", "--json"];
        let object = &place.run(&[&arguments[..], &["--baselines", "folder"]].concat()).objects()[0];
        assert_eq!((&object["layer"], object["map"]["at"].as_str()), (&relu["name"], Some("layer")), "{method}");
        let size = |side: &str| object["map"][side].as_u64();
        assert_eq!([size("height"), size("width")], [1, 2].map(|axis| relu["shape"][axis].as_u64()), "{method}");
        let map = decode_npy(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
        assert!(map.values().iter().any(|value| *value != 0.0), "{method}");
    }
    // Layer-wise attributions add up to the score's difference, as those of the input do.
    let arguments = ["explain", name(&photo), "--method", "integrated-gradients", "--draws", "200", "--json"];
    let sum = |more: &[&str]| {
        let object = &place.run(&[&arguments[..], more].concat()).objects()[0];
        let map = decode_npy(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
        map.values().iter().map(|value| f64::from(*value)).sum::<f64>()
    };
    let (at_input, at_layer) = (sum(&[]), sum(&["--layer", layer]));
    assert!((at_input - at_layer).abs() < 0.02 * at_input.abs(), "{at_input} {at_layer}");
    let two = format!("{layer},{layer}");
    place.run(&["explain", name(&photo), "--method", "saliency", "--layer", &two]).refused(2, &["one layer at a time"]);
    place.run(&["explain", name(&photo), "--method", "full-grad", "--layer", layer]).refused(2, &["no target layer"]);
}

#[test]
fn paths_are_chosen_and_errors_are_reported() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let bits = |more: &[&str]| {
        let object = place.run(&[&["explain", name(&photo), "--json"], more].concat()).objects().remove(0);
        let map = decode_npy(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
        map.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let blur = ["--method", "blur-integrated-gradients", "--draws", "6"];
    assert_eq!(bits(&blur), bits(&[&blur[..], &["--blur-sigma", "50"]].concat()));
    assert_ne!(bits(&blur), bits(&[&blur[..], &["--blur-sigma", "3"]].concat()));
    let guided = ["--method", "guided-integrated-gradients", "--draws", "6"];
    let [fraction, distance] = [["--guided-fraction", "0.6"], ["--guided-distance", "0.3"]];
    let all =
        [bits(&guided), bits(&[&guided[..], &distance].concat()), bits(&[&guided[..], &distance, &fraction].concat())];
    assert!(all[0] != all[1] && all[1] != all[2]);
    for wrong in [["--blur-sigma", "0"], ["--guided-fraction", "2"], ["--guided-distance", "-1"]] {
        let method = if wrong[0] == "--blur-sigma" { &blur } else { &guided };
        let wrong = format!("{}={}", wrong[0], wrong[1]);
        assert_ne!(place.run(&[&["explain", name(&photo), &wrong], &method[..]].concat()).code(), 0, "{wrong}");
    }
    let expected =
        ["explain", name(&photo), "--method", "expected-gradients", "--draws", "20", "--wanted-error", "0.1"];
    let said = place.run(&expected).stderr();
    let object = &place.run(&[&expected[..], &["--json"]].concat()).objects()[0]["convergence"];
    let needed = object["draws_for_wanted_error"].as_u64().unwrap();
    assert_eq!(object["wanted_error"], 0.1);
    assert!(said.contains(&format!("about {needed} draws")) && said.contains("down to 10%"), "{said}");
    place.run(&["explain", name(&photo), "--wanted-error", "0"]).refused(2, &["wanted-error"]);
    place.run(&["explain", name(&photo), "--method", "saliency", "--stop", "delta:1"]).refused(2, &["no draws"]);
}

#[test]
fn baselines_are_picked_mixed_and_repeated() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    for index in 0..4 {
        place.scene(&format!("folder/{index}.png"), 5 + index);
    }
    place.file("broken/0.png", b"not a picture");
    let bits = |baselines: &str, seed: &str| {
        let arguments = ["explain", name(&photo), "--method", "integrated-gradients", "--draws", "4", "--json"];
        let object = &place.run(&[&arguments[..], &["--baselines", baselines, "--seed", seed]].concat()).objects()[0];
        assert_eq!(object["baselines"], baselines);
        let map = decode_npy(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
        map.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    // The first of the list is what a single path begins at, whatever the seed.
    assert_eq!(bits("folder@2,1", "0"), bits("folder@2", "7"));
    assert_ne!(bits("folder@2,1", "0"), bits("folder@1-2", "0"));
    assert_eq!(bits("1*zero+0.0001*zero", "0"), bits("zero", "0"));
    assert_eq!(bits("color:000000", "0"), bits("black", "0"));
    assert_ne!(bits("color:#ff8000", "0"), bits("black", "0"));
    let mixed: std::collections::HashSet<_> =
        (0..12).map(|seed| bits("2*folder@0+blur:5", &seed.to_string())).collect();
    assert_eq!(mixed, std::collections::HashSet::from([bits("folder@0", "0"), bits("blur:5", "0")]));
    bits("folder@replacement", "0");
    bits("scenes@5", "0");
    for (wrong, word) in [
        ("folder@9", "has 4"),
        ("folder@a", "list"),
        ("zero@1", "no folder"),
        ("zero:3", "colon"),
        ("color", "color:RRGGBB"),
        ("blur:0", "above 0"),
        ("x*zero", "above 0"),
        ("zero+", "no baselines"),
        ("zero+nothing", "nothing"),
    ] {
        place.run(&["explain", name(&photo), "--baselines", wrong]).refused(2, &[word]);
    }
    place.run(&["explain", name(&photo), "--baselines", "broken@0"]).refused(1, &["0.png"]);
}

/// A network with one output: its value is explained as it is, and its probability is its sigmoid.
#[test]
fn a_regression_is_explained() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let model = fixture("goldens/gradient/regression.onnx");
    let explain =
        |more: &[&str]| place.run(&[&["explain", name(&photo), "--model", name(&model), "--json"], more].concat());
    let object = explain(&["--method", "integrated-gradients", "--draws", "100"]).objects().remove(0);
    let map = decode_npy(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap();
    let sum: f64 = map.values().iter().map(|value| f64::from(*value)).sum();
    let delta = object["convergence"]["delta"].as_f64().unwrap();
    let (score, size) = (object["score"].as_f64().unwrap(), sum.abs());
    assert_eq!(object["class"], 0);
    assert!(score.is_finite() && delta.abs() < 0.05 * size, "{sum} {delta}");
    for method in
        ["saliency", "expected-gradients", "grad-cam", "expected-grad-cam", "score-cam", "guided-backpropagation"]
    {
        let object = explain(&["--method", method, "--draws", "4"]).objects().remove(0);
        assert!((object["score"].as_f64().unwrap() - score).abs() < 1e-4, "{method}");
    }
    let probable = explain(&["--method", "saliency", "--score", "probability"]).objects().remove(0);
    assert!((probable["score"].as_f64().unwrap() - 1.0 / (1.0 + (-score).exp())).abs() < 1e-6, "{probable}");
    assert!((probable["probability"].as_f64().unwrap() - 1.0 / (1.0 + (-score).exp())).abs() < 1e-6, "{probable}");
    // Without the notes on what was assumed of the network.
    explain(&["--class", "1", "--quiet"]).refused(2, &["0..1"]);
}
