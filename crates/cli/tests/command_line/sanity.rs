use super::support::{Place, name};

#[test]
fn maps_are_checked_against_networks_that_lost_their_weights() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let check = |more: &[&str]| place.run(&[&["sanity", name(&photo), "--layers", "2"], more].concat());
    let lines = check(&["--methods", "layer-cam,guided-backpropagation", "--json"]).objects();
    let of = |line: usize, key: &str| lines[line][key].clone();
    assert_eq!(lines.len(), 4);
    assert_eq!((of(0, "method"), of(2, "method")), ("layer-cam".into(), "guided-backpropagation".into()));
    assert_eq!(of(0, "layer"), of(2, "layer"));
    // Guided backpropagation hardly sees that the last layer is gone (Adebayo et al. 2018).
    assert!(of(2, "spearman").as_f64().unwrap() > of(0, "spearman").as_f64().unwrap());
    let alone = check(&["--methods", "layer-cam", "--check", "independent", "--json"]).objects();
    // The first network is the same in both checks, the second is not.
    assert_eq!(alone[0]["spearman"], lines[0]["spearman"]);
    assert_ne!(alone[1]["spearman"], lines[1]["spearman"]);
    let table = check(&["--methods", "layer-cam"]).stdout();
    assert!(table.lines().count() == 3 && table.contains("rank correlation"), "{table}");
}

#[test]
fn methods_say_how_and_what_they_have_not_is_refused() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let check = |methods: &str| place.run(&["sanity", name(&photo), "--layers", "1", "--methods", methods]);
    assert_eq!(check("expected-grad-cam.2x3,hyper-expected-grad-cam.draft").code(), 0);
    check("grad-cam.draft").refused(2, &["no qualities"]);
    check("grad-cam.5x5").refused(2, &["no mini-batches"]);
    check("grad-cam.soon").refused(2, &["gradient", "soon"]);
    check("grad-cm").refused(2, &["grad-cam"]);
}

#[test]
fn maps_are_held_against_a_network_of_shuffled_labels() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let check = |other: &str| {
        let words = ["--methods", "layer-cam,grad-cam", "--shuffled-labels", other, "--json"];
        place.run(&[&["sanity", name(&photo)], &words[..]].concat())
    };
    // The same network has the same map; one of another architecture cannot be compared.
    let lines = check("scenes-vgg").objects();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!((line["layer"].as_str(), line["spearman"].as_f64()), (Some("shuffled labels"), Some(1.0)));
    }
    check("absent.onnx").refused(1, &["absent.onnx"]);
    let both = ["--shuffled-labels", "scenes-vgg", "--check", "independent"];
    assert_eq!(place.run(&[&["sanity", name(&photo)], &both[..]].concat()).code(), 2);
}
