use super::support::{Place, name};
use faithful_report::image;

#[test]
fn a_dream_raises_its_class_and_can_be_dreamt_again() {
    let place = Place::new();
    let dream = |out: &str, more: &[&str]| {
        let arguments = [&["dream", "--class", "1", "--steps", "60", "--out", out, "--json"], more].concat();
        place.run(&arguments).objects().remove(0)
    };
    let line = dream("pictures/one.png", &[]);
    assert_eq!((line["class"].as_u64(), line["steps"].as_u64()), (Some(1), Some(60)));
    assert!(line["score"].as_f64().unwrap() > line["score_before"].as_f64().unwrap() + 0.1, "{line}");
    assert!(line["label"].is_string() && line["probability"].as_f64().unwrap() <= 1.0);
    let picture = image::open(place.path("pictures/one.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (96, 96));

    let bytes = |file: &str| std::fs::read(place.path(file)).unwrap();
    dream("same.png", &[]);
    dream("other.png", &["--seed", "1"]);
    assert_eq!(bytes("same.png"), bytes("pictures/one.png"));
    assert_ne!(bytes("other.png"), bytes("pictures/one.png"));
    // From a photo, or from the mean colour without anything random.
    let photo = place.scene("scene.png", 0);
    dream("from-photo.png", &["--start", name(&photo)]);
    let still = ["--start", "mean", "--jitter", "0"];
    dream("mean.png", &still);
    dream("mean-again.png", &[&still[..], &["--seed", "5"]].concat());
    assert_eq!(bytes("mean.png"), bytes("mean-again.png"));
}

#[test]
fn a_dream_of_nothing_in_particular_is_refused() {
    let place = Place::new();
    place.run(&["dream", "--class", "top3", "--out", "x.png"]).refused(2, &["class", "not one class"]);
    place.run(&["dream", "--class", "no such thing", "--out", "x.png"]).refused(2, &["no such thing"]);
    place.run(&["dream", "--class", "1", "--rate=-1", "--out", "x.png"]).refused(2, &["rate"]);
    assert!(!place.path("x.png").exists());
}
