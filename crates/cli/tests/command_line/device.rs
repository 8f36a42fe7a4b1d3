//! `--device` and `--precision`, as far as a machine without a GPU goes.

use super::support::{Place, name};

#[test]
fn several_devices_give_the_same_maps() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let map = |device: &str, method: &str| {
        let options = ["--method", method, "--draws", "5", "--batch", "3", "--device", device, "--out", "maps"];
        place.run(&[&["explain", name(&photo), "--quiet"][..], &options].concat()).stdout();
        std::fs::read(place.path(&format!("maps/scene.{method}.npy"))).unwrap()
    };
    for method in ["expected-grad-cam", "smooth-grad", "guided-backpropagation", "score-cam"] {
        let one = map("cpu", method);
        assert_eq!(one, map("cpu,cpu", method), "{method}");
        assert_eq!(one, map("cpu,cpu,cpu", method), "{method}");
    }
    let predict = |device: &str| place.run(&["predict", name(&photo), "--json", "--device", device]).stdout();
    assert_eq!(predict("cpu"), predict("cpu,cpu"));
    let dream = |device: &str, file: &str| {
        place.run(&["dream", "--class", "1", "--steps", "3", "--quiet", "--device", device, "--out", file]).stdout();
        std::fs::read(place.path(file)).unwrap()
    };
    assert_eq!(dream("cpu", "one.png"), dream("cpu,cpu", "two.png"));
}

#[test]
fn evaluations_and_lives_are_computed_where_it_is_said() {
    let place = Place::new();
    let table = |device: &str, out: &str| {
        let options = ["--methods", "grad-cam", "--metrics", "insertion", "--steps", "4", "--samples", "2"];
        let run = ["evaluate", "--images", "scenes", "--quiet", "--device", device, "--out", out];
        place.run(&[&run[..], &options].concat()).stdout();
        place.run(&["table", out, "--format", "csv"]).stdout()
    };
    assert_eq!(table("cpu", "one"), table("cpu,cpu", "two"));
    let lives = |device: &str| {
        let run = ["rul", "explain", "--engines", "1", "--draws", "3", "--json", "--quiet", "--device", device];
        let objects = place.run(&run).objects();
        objects.iter().map(|object| object["predicted"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(lives("cpu"), lives("cpu,cpu"));
}

#[test]
fn bf16_gives_nearly_the_same_and_says_so_where_it_cannot() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let scores = |precision: &str| {
        place.run(&["predict", name(&photo), "--json", "--precision", precision]).objects()[0]["top"][0].clone()
    };
    let (exact, rounded) = (scores("f32"), scores("bf16"));
    let said = place.run(&["predict", name(&photo), "--precision", "bf16"]).stderr();
    // Where it is no faster, f32 is computed, and that is said.
    assert_eq!(exact == rounded, said.contains("computed in f32"), "{said}");
    assert_eq!(exact["class"], rounded["class"]);
    let apart = exact["probability"].as_f64().unwrap() - rounded["probability"].as_f64().unwrap();
    assert!(apart.abs() < 0.05, "{apart}");
    let map = |batch: &str| {
        let options = ["--method", "expected-grad-cam", "--draws", "6", "--precision", "bf16", "--batch", batch];
        place.run(&[&["explain", name(&photo), "--quiet", "--out", "maps"][..], &options].concat()).stdout();
        std::fs::read(place.path("maps/scene.expected-grad-cam.npy")).unwrap()
    };
    assert_eq!(map("1"), map("6"));
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let refused = |options: &[&str], word: &str| {
        for command in [&["explain", name(&photo)][..], &["predict", name(&photo)], &["rul", "explain"]] {
            place.run(&[command, options].concat()).refused(2, &[word]);
        }
    };
    if !candle_core::utils::cuda_is_available() {
        refused(&["--device", "cuda"], "this build has no CUDA; build with `--features cuda`");
        refused(&["--device", "cpu,cuda:1"], "`cuda:1`: this build has no CUDA");
    }
    refused(&["--device", "tpu"], "`tpu` is none of `cpu`, `cuda`");
    refused(&["--device", "cudaa"], "did you mean `cuda`?");
    refused(&["--precision", "tf32"], "tf32 is a way of GPUs to multiply; the CPU has f32 and bf16");
    refused(&["--precision", "f23"], "none of `f32`, `tf32` and `bf16`");
    refused(&["--precision", "f33"], "did you mean `f32`?");
    // Whatever there is will do.
    place.run(&["predict", name(&photo), "--device", "auto"]).stdout();
    let mut command = place.command(&["predict", name(&photo)]);
    let output = command.env("FAITHFUL_DEVICE", "tpu").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
