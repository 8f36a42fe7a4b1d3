use super::support::{Place, name};
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
    assert!((convergence["draws_for_5_percent"].as_f64().unwrap() - wanted).abs() <= 1.0);
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
