//! Segmentation, detection, similarity and sums of outputs, as the commands have them.

use super::support::{Place, fixture};
use faithful_report::image;

/// A network with its JSON and the photo of three objects, one blue and two red.
fn place(network: &str) -> (Place, String) {
    let place = Place::new();
    for end in ["onnx", "json"] {
        copy(&place, &format!("{network}.{end}"));
    }
    copy(&place, "photo.png");
    (place, format!("{network}.onnx"))
}

fn copy(place: &Place, file: &str) {
    std::fs::copy(fixture("goldens/outputs").join(file), place.path(file)).unwrap();
}

#[test]
fn boxes_are_listed_drawn_and_explained() {
    let (place, model) = place("yolo8");
    let ran = place.run(&["predict", "photo.png", "--model", &model, "--json", "--top", "3", "--draw", "boxes"]);
    let object = &ran.objects()[0];
    let found = object["detections"].as_array().unwrap();
    assert_eq!(found.len(), 3, "{object}");
    for (place, one) in found.iter().enumerate() {
        let corners: Vec<f64> = one["box"].as_array().unwrap().iter().map(|side| side.as_f64().unwrap()).collect();
        assert!(one["number"] == place + 1 && corners[0] < corners[2] && corners[1] < corners[3], "{one}");
    }
    let drawn = image::open(place.path(object["picture"].as_str().unwrap())).unwrap().to_rgb8();
    let plain = image::open(place.path("photo.png")).unwrap().to_rgb8();
    assert!(drawn.dimensions() == plain.dimensions() && drawn != plain);
    let table = place.run(&["predict", "photo.png", "--model", &model, "--top", "20"]).stdout();
    assert!(table.contains("number") && table.contains("blue"), "{table}");

    let blue = &place.run(&["explain", "photo.png", "--model", &model, "--detection", "blue", "--json"]).objects()[0];
    let overlay = blue["files"]["overlay"].as_str().unwrap();
    assert_eq!((blue["label"].as_str(), blue["method"].as_str()), (Some("blue"), Some("layer-cam")), "{blue}");
    assert_eq!(overlay, "faithful-out/photo.layer-cam.detection-blue.png");
    let left =
        &place.run(&["explain", "photo.png", "--model", &model, "--detection", "blue/left", "--json"]).objects()[0];
    assert_eq!(left["label"], "left of the box in pixels");
    assert!((30.0..45.0).contains(&left["score"].as_f64().unwrap()), "{left}");
    let similar = ["explain", "photo.png", "--model", &model, "--detection", "blue/similar", "--method", "rise"];
    let similar = &place.run(&[&similar[..], &["--draws", "40", "--json"]].concat()).objects()[0];
    assert!((similar["score"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{similar}");

    let compare = ["compare", "photo.png", "--model", &model, "--detection", "1", "--methods", "grad-cam,layer-cam"];
    let compare = place.run(&[&compare[..], &["--out", "maps.html", "--steps", "5"]].concat());
    assert!(compare.code() == 0 && place.path("maps.html").exists(), "{}", compare.stderr());
    place
        .run(&["explain", "photo.png", "--model", &model, "--detection", "999", "-q"])
        .refused(1, &["no detection 999"]);
}

/// The map of a box, of a region and of a similarity changes with the network's weights.
#[test]
fn readings_are_checked_against_networks_that_lost_their_weights() {
    let (place, yolo) = place("yolo8");
    for file in ["segmentation.onnx", "segmentation.json", "embedding.onnx", "embedding.json", "other.png"] {
        copy(&place, file);
    }
    for words in [
        [yolo.as_str(), "--detection", "blue"],
        ["segmentation.onnx", "--region", "point:46,34"],
        ["embedding.onnx", "--similar-to", "other.png"],
    ] {
        let sanity = |more: &[&str]| {
            let common = ["sanity", "photo.png", "--methods", "saliency", "--json", "--model"];
            place.run(&[&common[..], &words[..], more].concat()).objects()
        };
        let lines = sanity(&["--layers", "2"]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line["spearman"].as_f64().unwrap() < 1.0), "{lines:?}");
        let same = sanity(&["--shuffled-labels", words[0]]);
        assert_eq!(same[0]["spearman"], 1.0, "{same:?}");
    }
}

#[test]
fn methods_are_measured_at_one_box() {
    let (place, model) = place("yolo5");
    std::fs::create_dir(place.path("photos")).unwrap();
    std::fs::rename(place.path("photo.png"), place.path("photos/photo.png")).unwrap();
    let arguments = [
        "evaluate",
        "--images",
        "photos",
        "--model",
        &model,
        "--detection",
        "blue",
        "--methods",
        "layer-cam,saliency",
        "--metrics",
        "insertion,deletion,drop@50,road",
        "--steps",
        "6",
        "--out",
        "run",
    ];
    assert_eq!(place.run(&arguments).code(), 0, "{}", place.run(&arguments).stderr());
    let table = place.run(&["table", "run", "--format", "csv"]).stdout();
    assert!(table.contains("layer-cam") && table.contains("saliency"), "{table}");
}

#[test]
fn classes_of_regions_are_listed_by_their_area_and_explained() {
    let (place, model) = place("segmentation");
    let object = &place.run(&["predict", "photo.png", "--model", &model, "--json"]).objects()[0];
    let areas: Vec<f64> = object["top"].as_array().unwrap().iter().map(|one| one["area"].as_f64().unwrap()).collect();
    assert!(areas.is_sorted_by(|a, b| a >= b) && (areas.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{object}");
    assert!(place.run(&["predict", "photo.png", "--model", &model]).stdout().contains("area"));
    let point = ["explain", "photo.png", "--model", &model, "--region", "point:46,34", "--json"];
    let point = &place.run(&point).objects()[0];
    assert_eq!(point["label"], "blue", "{point}");
    assert_eq!(point["files"]["overlay"], "faithful-out/photo.layer-cam.region-point-46-34.png");
    place
        .run(&["explain", "photo.png", "--model", &model, "--region", "point:99,1", "-q"])
        .refused(1, &["99,1 is outside"]);
}

#[test]
fn likeness_and_sums_have_no_probability() {
    let (place, model) = place("embedding");
    copy(&place, "other.png");
    let of = |photo: &str, other: &str| {
        let ran = place.run(&["explain", photo, "--model", &model, "--similar-to", other, "--json"]);
        ran.objects()[0]["score"].as_f64().unwrap()
    };
    assert!((of("photo.png", "other.png") - of("other.png", "photo.png")).abs() < 1e-6);
    let both = ["compare", "photo.png", "--model", &model, "--methods", "grad-cam", "--steps", "4", "--both-ways"];
    let page = place.run(&[&both[..], &["--similar-to", "other.png", "--out", "both.html"]].concat());
    assert_eq!(page.code(), 0, "{}", page.stderr());
    let page = std::fs::read_to_string(place.path("both.html")).unwrap();
    assert!(page.contains("similarity to other.png") && page.contains("similarity to photo.png"));
    let alone = place.run(&both);
    assert!(alone.code() == 2 && alone.stderr().contains("--similar-to"), "{}", alone.stderr());
    std::fs::write(place.path("vector.npy"), []).unwrap();
    place.run(&[&both[..], &["--similar-to", "vector.npy"]].concat()).refused(2, &["--both-ways"]);
    let table = place.run(&["predict", "photo.png", "--model", &model, "--similar-to", "other.png"]).stdout();
    assert!(table.contains("similarity to other.png") && !table.contains('%'), "{table}");

    for end in ["onnx", "json"] {
        copy(&place, &format!("counts.{end}"));
    }
    let sums = [
        "predict",
        "photo.png",
        "--model",
        "counts.onnx",
        "--sum",
        "count=sum(density)",
        "--sum",
        "mean(density)",
        "--json",
    ];
    let object = &place.run(&sums).objects()[0];
    let value = |label: &str| {
        let top = object["top"].as_array().unwrap();
        top.iter().find(|one| one["label"] == label).unwrap()["logit"].as_f64().unwrap()
    };
    assert!((value("count") / value("mean(density)") - 192.0).abs() < 1e-3, "{object}");
    let side = place.path("counts.json");
    let text = std::fs::read_to_string(&side).unwrap();
    std::fs::write(&side, text.replacen('{', "{\"scores\": {\"count\": \"sum(density)\"}, ", 1)).unwrap();
    let named = &place.run(&["predict", "photo.png", "--model", "counts.onnx", "--json"]).objects()[0];
    assert!(
        (named["top"][0]["logit"].as_f64().unwrap() - value("count")).abs() < 1e-4
            && named["top"][0]["label"] == "count"
    );
    let wrong = place.run(&["explain", "photo.png", "--model", "counts.onnx", "--sum", "age[0]", "-q"]);
    wrong.refused(2, &["there is no output `age`", "`density` [1, 12, 16]"]);
    let both =
        place.run(&["explain", "photo.png", "--model", "counts.onnx", "--sum", "output", "--region", "class", "-q"]);
    assert!(both.code() == 2 && both.stderr().contains("cannot be used with"), "{}", both.stderr());
}
