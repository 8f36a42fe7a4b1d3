//! The instruction set that the kernels run by, named by an environment variable.

use super::support::{Place, name};
use faithful_core::Array;
use serde_json::Value;

const OTHER: &str = "portable";

fn map_by(place: &Place, isa: Option<&str>, photo: &str, method: &str) -> Vec<f32> {
    let out = isa.unwrap_or("best");
    let mut command = place.command(&["explain", photo, "--method", method, "--draws", "4", "--out", out, "--json"]);
    isa.map(|isa| command.env("FAITHFUL_ISA", isa));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    Array::decode(&std::fs::read(place.path(object["files"]["map"].as_str().unwrap())).unwrap()).unwrap().values
}

#[test]
fn maps_are_the_same_by_another_instruction_set_but_for_rounding() {
    let place = Place::new();
    let photo = place.scene("photos/one.png", 0);
    for method in ["grad-cam", "expected-gradients"] {
        let [best, other] = [None, Some(OTHER)].map(|isa| map_by(&place, isa, name(&photo), method));
        let largest = best.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let apart = best.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-5 * largest, "{method}: {apart} of {largest}");
    }
}

#[test]
fn an_instruction_set_that_is_not_there_is_refused_with_those_that_are() {
    let place = Place::new();
    let output = place.command(&["methods"]).env("FAITHFUL_ISA", "sse9").output().unwrap();
    super::support::Ran(output).refused(2, &["FAITHFUL_ISA", "`sse9`", "portable"]);
}

#[test]
fn a_run_says_by_which_instruction_set_it_was_begun_and_goes_on_by_another() {
    let place = Place::new();
    place.scene("photos/0.png", 0);
    place.scene("photos/1.png", 1);
    let share = |share: &str| {
        let mut arguments = ["evaluate", "--images", "photos", "--methods", "grad-cam", "--metrics", "drop"].to_vec();
        arguments.extend(["--out", "run", "--shard", share]);
        place.command(&arguments)
    };
    let first = share("1/2").env("FAITHFUL_ISA", OTHER).output().unwrap();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let manifest: Value = serde_json::from_slice(&std::fs::read(place.path("run/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["instructions"], OTHER);
    let second = share("2/2").output().unwrap();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(place.run(&["table", "run"]).code(), 0);
}
