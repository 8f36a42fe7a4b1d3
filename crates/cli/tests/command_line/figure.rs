use super::support::{Place, name};

#[test]
fn convergence_is_drawn_beside_the_map_and_for_several_runs() {
    let place = Place::new();
    let photo = place.scene("scene.png", 1);
    let explain = |out: &str, more: &[&str]| {
        let arguments = [
            "explain",
            name(&photo),
            "--method",
            "expected-grad-cam",
            "--trace",
            "--trace-figure",
            "--out",
            out,
            "--json",
        ];
        place.run(&[&arguments[..], more].concat()).objects().remove(0)
    };
    let alone = explain("alone", &["--draws", "12", "--stop", "delta:1e-9"]);
    let figure = std::fs::read_to_string(place.path(alone["files"]["trace_figure"].as_str().unwrap())).unwrap();
    assert!(figure.starts_with("<svg ") && figure.ends_with("</svg>\n"));
    for words in ["Running mean of the summed gradients", "Convergence-difference", "Convergence-delta", "threshold"] {
        assert!(figure.contains(words), "{words}");
    }
    let batched = explain("batched", &["--mini-batches", "3x4"]);
    let traces = [&alone, &batched].map(|object| object["files"]["trace"].as_str().unwrap());
    let arguments = ["figure", "convergence", traces[0], traces[1], "--names", "12,3x4", "--out", "both.svg"];
    let ran = place.run(&arguments);
    assert_eq!((ran.code(), ran.stdout().as_str()), (0, "both.svg\n"), "{}", ran.stderr());
    let both = std::fs::read_to_string(place.path("both.svg")).unwrap();
    assert!(both.contains(">12</text>") && both.contains(">3x4</text>"));
    let object = &place.run(&["figure", "convergence", traces[0], "--json"]).objects()[0];
    assert_eq!(object["figure"], "convergence.svg");
}

#[test]
fn a_figure_of_what_is_no_trace_is_refused_in_one_line() {
    let place = Place::new();
    place.file("good.jsonl", b"{\"draws\":1,\"gradient_sum\":0.5,\"difference\":null,\"delta\":null}\n");
    place.file("bad.jsonl", b"{\"draws\":1}\n");
    place.file("empty.jsonl", b"");
    place.file("bytes.jsonl", &[0xff, 0xfe]);
    let figure = |more: &[&str]| place.run(&[&["figure", "convergence"], more].concat());
    figure(&["absent.jsonl"]).refused(1, &["absent.jsonl"]);
    figure(&["bad.jsonl"]).refused(1, &["bad.jsonl", "line 1"]);
    figure(&["empty.jsonl"]).refused(1, &["empty.jsonl", "no draw"]);
    figure(&["bytes.jsonl"]).refused(1, &["bytes.jsonl"]);
    figure(&["good.jsonl", "--names", "a,b"]).refused(2, &["2 names for 1"]);
    figure(&["good.jsonl", "--stop", "soon"]).refused(2, &["soon"]);
    figure(&["good.jsonl", "--out", "nowhere/x.svg"]).refused(1, &["nowhere"]);
    assert_eq!(figure(&["good.jsonl"]).code(), 0);
}

#[test]
fn a_runs_curves_and_scores_are_drawn() {
    let place = Place::new();
    for index in 0..3 {
        place.scene(&format!("photos/{index}.png"), index);
    }
    let methods = ["--methods", "grad-cam,layer-cam", "--metrics", "insertion,deletion,drop@30", "--steps", "10"];
    let run = place.run(&[&["evaluate", "--images", "photos", "--out", "run"], &methods[..]].concat());
    assert_eq!(run.code(), 0, "{}", run.stderr());
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    assert_eq!(place.run(&["figure", "curves", "run", "--out", "c.svg"]).code(), 0);
    let figure = read("c.svg");
    assert!(figure.contains("insertion, mean of 3 images") && figure.contains(">layer-cam</text>"));
    let scores = ["figure", "scores", "run", "--metrics", "drop@30", "--methods", "layer-cam", "--out", "s.svg"];
    assert_eq!(place.run(&scores).code(), 0);
    assert!(read("s.svg").contains("drop@30") && !read("s.svg").contains(">grad-cam</text>"));
    // The same as a PNG, twice as large as the SVG says it is.
    assert_eq!(place.run(&["figure", "curves", "run", "--out", "c.png"]).code(), 0);
    let png = image::open(place.path("c.png")).unwrap().to_rgb8();
    let height: f64 = figure.split_once("height=\"").unwrap().1.split('"').next().unwrap().parse().unwrap();
    assert_eq!(png.dimensions(), (1520, (2.0 * height).ceil() as u32));
    let blue = png.pixels().filter(|pixel| pixel.0 == [0x00, 0x72, 0xb2]).count();
    assert!(blue > 1000, "{blue} pixels of the first method's line");
    place.run(&["figure", "curves", "run", "--out", "c.jpeg"]).refused(2, &[".jpeg"]);
    place.run(&["figure", "curves", "run", "--methods", "grad-cm"]).refused(2, &["grad-cam"]);
    place.run(&["figure", "scores", "run", "--metrics", "energy"]).refused(2, &["energy"]);
    place.run(&["figure", "curves", "absent"]).refused(1, &["absent"]);
}
