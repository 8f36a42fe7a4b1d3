//! The concepts of a layer, as `atlas` shows them.

use super::support::{Place, fixture};

fn shares(concept: &serde_json::Value) -> [f64; 2] {
    ["probability_with", "probability_without"].map(|name| concept[name].as_f64().unwrap())
}

#[test]
fn a_layer_is_taken_apart_into_concepts() {
    let place = Place::new();
    let atlas = |more: &[&str]| {
        let words = ["atlas", "--images", "scenes", "--samples", "24", "--out", "page.html"];
        place.run(&[&words[..], more].concat())
    };
    let object = &atlas(&["--concepts", "5", "--json"]).objects()[0];
    let concepts = object["concepts"].as_array().unwrap();
    assert!(concepts.len() == 5 && object["photos"] == 24, "{object}");
    let explained = object["explained"].as_f64().unwrap();
    assert!((0.2..1.0).contains(&explained), "{object}");
    let more = &atlas(&["--concepts", "10", "--json"]).objects()[0];
    assert!(more["explained"].as_f64().unwrap() > explained, "{more}");
    for concept in concepts {
        let photos = concept["photos"].as_array().unwrap();
        assert!((1..=12).contains(&photos.len()) && concept["classes"].as_array().unwrap().len() == 3, "{concept}");
    }
    // What is taken out was of use to most of the photos that have it.
    let useful = concepts.iter().map(shares).filter(|[with, without]| with > without).count();
    assert!(useful >= 4, "{object}");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("concept 5") && page.contains("Concepts: 24 photos"));

    let of_class = &atlas(&["--concepts", "2", "--class", "0", "--json"]).objects()[0];
    assert!((1..24).contains(&of_class["photos"].as_u64().unwrap()), "{of_class}");
    for (words, option) in [
        (&[][..], "--class"),
        (&["--concepts", "3", "--method", "grad-cam"], "--method"),
        (&["--concepts", "0"], "--concepts"),
    ] {
        let ran = atlas(words);
        assert!(ran.code() == 2 && ran.stderr().contains(option), "{}", ran.stderr());
    }
    atlas(&["--concepts", "3", "--layers", "features.0,features.3"]).refused(2, &["one layer"]);
}

#[test]
fn tokens_have_concepts_too() {
    let place = Place::new();
    std::fs::create_dir(place.path("photos")).unwrap();
    for seed in 1..4 {
        place.scene(&format!("photos/{seed}.png"), seed);
    }
    for model in ["vit-script", "swin-script"] {
        let model = fixture(&format!("goldens/attention/{model}.onnx"));
        let words = ["atlas", "--images", "photos", "--concepts", "2", "--out", "page.html", "--json", "--model"];
        let object = &place.run(&[&words[..], &[model.to_str().unwrap()]].concat()).objects()[0];
        assert_eq!(object["concepts"].as_array().unwrap().len(), 2, "{object}");
    }
}
