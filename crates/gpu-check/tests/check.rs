//! The program, with the compositions on the CPU in a GPU's place.

use std::process::Command;

fn run(options: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_faithful-gpu-check")).args(options).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn compositions_agree_with_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("gpu.md");
    let (code, text) = run(&["--device", "cpu", "--parts", "operations", "--out", page.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("comparisons agree") && !text.contains("DIFFERS"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("| conv2d 3x3 | f64 |") && page.contains("| lstm Reverse | f32 |"), "{page}");
}

#[test]
fn methods_agree() {
    let (code, text) = run(&["--device", "cpu", "--parts", "methods"]);
    assert_eq!(code, Some(0), "{text}");
    for method in ["expected-grad-cam", "hyper-expected-grad-cam", "score-cam", "integrated-gradients"] {
        assert!(text.contains(method), "{text}");
    }
}

#[test]
fn explanations_are_timed() {
    let options = ["--device", "cpu", "--parts", "timings", "--network", "squeezenet1_1", "--draws", "2"];
    let (code, text) = run(&[&options[..], &["--repeat", "1"]].concat());
    assert_eq!(code, Some(0), "{text}");
    let has = |word| text.contains(word);
    // The CPU has no `tf32`.
    assert!(has("hyper-expected-grad-cam") && has(" f32 ") && has("bf16") && !has("tf32"), "{text}");
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    if !candle_core::utils::cuda_is_available() {
        let (code, text) = run(&["--device", "cuda"]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("this build has no CUDA"), "{text}");
    }
}
