//! Damaged, contradictory and hostile files: an error in words, never a panic, an endless loop or a huge allocation.

use crate::folder;
use faithful_model::{OnnxOptions, read_onnx};
use proptest::prelude::*;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.onnx"))).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    read_onnx(bytes, &OnnxOptions::default()).err().map_or_else(|| "accepted".into(), |error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_short_is_refused(place in 0.0..1.0f64, name in prop::sample::select(vec!["hand13_windows", "hand13_channels_last"])) {
        let whole = file(name);
        let cut = &whole[..(whole.len() as f64 * place) as usize];
        prop_assert_ne!(refusal(cut), "accepted");
    }

    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((0.0..1.0f64, any::<u8>()), 1..6),
        name in prop::sample::select(vec!["hand13_windows", "hand13_channels_last", "hand9_old", "hand16_forms", "hand14_recurrent", "hand21_newer"]),
    ) {
        let mut bytes = file(name);
        let length = bytes.len() as f64;
        for (place, value) in flips {
            bytes[(length * place) as usize] = value;
        }
        let _ = read_onnx(&bytes, &OnnxOptions::default());
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_ne!(refusal(&bytes), "accepted");
    }
}

#[test]
fn an_empty_file_says_so() {
    assert!(refusal(&[]).contains("the file is empty"));
}

#[test]
fn a_text_file_is_no_model() {
    assert!(refusal(b"just some words\n").contains("ONNX model: "));
}

/// A field of protobuf: its number, wire type 2, and content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
    bytes.extend(field(2, output.as_bytes()));
    bytes.extend(field(3, format!("the {output}").as_bytes()));
    bytes.extend(field(4, operator.as_bytes()));
    field(1, &bytes)
}

/// A model from `x` `(N, sizes…)` to `y` with these nodes and tensors.
fn model(nodes: &[Vec<u8>], tensors: &[Vec<u8>], sizes: &[u64]) -> Vec<u8> {
    let dimension = |size: &u64| {
        let mut bytes = vec![0x08];
        let mut size = *size;
        while size >= 0x80 {
            bytes.push(size as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        field(1, &bytes)
    };
    let shape: Vec<u8> = std::iter::once(field(1, &[])).chain(sizes.iter().map(dimension)).flatten().collect();
    let kind = field(2, &field(1, &[vec![0x08, 1], field(2, &shape)].concat()));
    let input = field(11, &[field(1, b"x"), kind].concat());
    let output = field(12, &field(1, b"y"));
    let graph = [nodes.concat(), tensors.concat(), input, output].concat();
    [field(7, &graph), field(8, &[0x10, 17])].concat()
}

/// A tensor of floats with these sizes and so many values.
fn tensor(name: &str, sizes: &[u8], values: &[f32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = sizes.iter().flat_map(|&size| [0x08, size]).collect();
    bytes.extend([0x10, 1]);
    bytes.extend(field(8, name.as_bytes()));
    bytes.extend(field(9, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()));
    field(5, &bytes)
}

#[test]
fn everything_that_is_missing_is_listed_at_once() {
    let nodes = [
        node("Fancy", &["x"], "a"),
        node("Relu", &["a"], "b"),
        node("NonMaxSuppression", &["b"], "c"),
        node("Sum", &["a", "c"], "y"),
        node("Unneeded", &["x"], "z"),
    ];
    let message = refusal(&model(&nodes, &[], &[3]));
    assert!(message.contains("Fancy (node `the a`)"), "{message}");
    assert!(message.contains("NonMaxSuppression (node `the c`)"), "{message}");
    assert!(!message.contains("Unneeded"), "{message}");
}

#[test]
fn contradictions_are_named() {
    let relu = node("Relu", &["x"], "y");
    let gemm = node("Gemm", &["x", "w"], "y");
    let cases: [(Vec<u8>, &str); 8] = [
        (model(&[node("Add", &["x", "y"], "a"), node("Relu", &["a"], "y")], &[], &[3]), "cycle"),
        (model(&[node("Add", &["x", "lost"], "y")], &[], &[3]), "nothing in the file makes its operand `lost`"),
        (model(&[relu.clone(), node("Abs", &["x"], "y")], &[], &[3]), "made twice"),
        (
            model(std::slice::from_ref(&gemm), &[tensor("w", &[3, 2], &[0.0; 5])], &[3]),
            "holds 5 values, but its shape [3, 2] needs 6",
        ),
        (
            model(std::slice::from_ref(&gemm), &[tensor("w", &[4, 2], &[0.0; 8])], &[3]),
            "expected shape (…, 4), got [1, 3]",
        ),
        (
            model(&[gemm], &[tensor("w", &[3, 1], &[0.0, f32::NAN, 1.0])], &[3]),
            "tensor `w` has values that are not finite, first at element 1 of 3 (NaN)",
        ),
        (model(std::slice::from_ref(&relu), &[], &[1 << 40, 1 << 40]), "fits into memory"),
        (model(&[relu], &[], &[]), "accepted"),
    ];
    for (bytes, expected) in cases {
        let message = refusal(&bytes);
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
    }
}

/// Ten continuation bytes hang naive readers of variable-length integers; lengths beyond the end make them allocate.
#[test]
fn hostile_lengths_are_refused() {
    assert_ne!(refusal(&[0xff; 64]), "accepted");
    let mut huge = vec![0x3a];
    huge.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_ne!(refusal(&huge), "accepted");
}

/// Branches in branches: deeper than any real file, shallower than what would exhaust the stack.
#[test]
fn deep_nesting_is_refused() {
    let mut graph = node("Relu", &["x"], "y");
    for _ in 0..5000 {
        let attribute = [field(1, b"then_branch"), field(6, &graph)].concat();
        let inner = [field(1, b"x"), field(2, b"y"), field(4, b"If"), field(5, &attribute)].concat();
        graph = field(1, &inner);
    }
    assert!(refusal(&field(7, &graph)).contains("ONNX model"));
}

#[test]
fn data_files_elsewhere_are_not_read() {
    let bytes = file("outside");
    assert!(refusal(&bytes).contains("load the model by its path"));
    let elsewhere: Vec<u8> = {
        let place = bytes.windows(11).position(|window| window == b"outside.bin").unwrap();
        let mut bytes = bytes;
        bytes[place..place + 11].copy_from_slice(b"../side.bin");
        bytes
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, elsewhere).unwrap();
    let message = faithful_model::load_onnx(&path, &OnnxOptions::default()).unwrap_err().to_string();
    assert!(message.contains("not below the model's folder"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_data_file_is_read_as_far_as_the_shape_needs_and_no_link_leaves_the_folder() {
    use std::os::unix::fs::symlink;
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let load = |path: &std::path::Path| {
        let loaded = faithful_model::load_onnx(path, &OnnxOptions::default());
        loaded.map_or_else(|error| error.to_string(), |_| "accepted".into())
    };
    for folder in ["model", "elsewhere", "cache", "links"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    std::fs::copy(folder().join("outside.onnx"), at("model/m.onnx")).unwrap();
    std::fs::copy(folder().join("outside.bin"), at("model/outside.bin")).unwrap();
    assert_eq!(load(&at("model/m.onnx")), "accepted");
    // A terabyte that takes no room on the disk.
    let data = std::fs::OpenOptions::new().write(true).open(at("model/outside.bin")).unwrap();
    if data.set_len(1 << 40).is_ok() {
        assert_eq!(load(&at("model/m.onnx")), "accepted");
    }
    // The data are elsewhere, behind a link, by the file's name or by a folder's.
    std::fs::rename(at("model/outside.bin"), at("elsewhere/outside.bin")).unwrap();
    symlink(at("elsewhere/outside.bin"), at("model/outside.bin")).unwrap();
    assert!(load(&at("model/m.onnx")).contains("not below the model's folder"), "{}", load(&at("model/m.onnx")));
    // A cache, and links to what is in it.
    std::fs::copy(at("model/m.onnx"), at("cache/1")).unwrap();
    std::fs::rename(at("elsewhere/outside.bin"), at("cache/2")).unwrap();
    symlink(at("cache/1"), at("links/m.onnx")).unwrap();
    symlink(at("cache/2"), at("links/outside.bin")).unwrap();
    assert_eq!(load(&at("links/m.onnx")), "accepted");
    std::fs::remove_file(at("model/outside.bin")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(at("model/outside.bin")).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(load(&at("model/m.onnx")).contains("not a regular file"), "{}", load(&at("model/m.onnx")));
    }
}
