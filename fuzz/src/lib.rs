//! What faithful reads from files and sockets, one function per kind of it, for any bytes: each must come back, with a
//! result or an error, without a panic and within memory that the bytes can pay for.
//!
//! The targets for libFuzzer call these functions, and so does `tests/tests/any_bytes.rs` in every `cargo test`, with the
//! seeds and some thousand changes of them.

use candle_core::{DType, Device, Tensor};
use faithful_core::{Network, Preprocessing, Tap};
use faithful_data::{Decoding, decode_photo, preprocess};
use faithful_evaluate::Store;
use faithful_explain::{evaluation::Masks, read_sums};
use faithful_model::{
    Graph, Loading, Model, ModelSource, OnnxOptions, SeriesNetwork, architecture, read_onnx, read_tensors,
};
use faithful_report::{Scale, decode_npy, encode_npy, rescale};
use faithful_rul::{
    CmapssSet, Columns, Preparation, PreparationOptions, RulModel, parse_lives, parse_series, read_columns,
};
use std::io::Cursor;
use std::path::Path;

/// One kind of bytes: its name, which is that of its target and its seeds' folder, and what reads it.
pub type Kind = (&'static str, fn(&[u8]));

/// Every kind.
pub const KINDS: [Kind; 13] = [
    ("onnx", onnx),
    ("weights", weights),
    ("photo", photo),
    ("series", series),
    ("archive", archive),
    ("table", table),
    ("side", side),
    ("about", about),
    ("map", map),
    ("request", request),
    ("rows", rows),
    ("expression", expression),
    ("boxes", boxes),
];

/// Networks with more numbers in their layers are read and not run.
const RUN: usize = 1 << 16;

/// An ONNX model; what is accepted runs forth and back.
pub fn onnx(bytes: &[u8]) {
    let options = OnnxOptions { free_size: Some([8, 8]), ..OnnxOptions::default() };
    if let Ok(graph) = read_onnx(bytes, &options) {
        run(&graph);
    }
}

fn run(graph: &Graph) {
    let count = |shape: &[usize]| shape.iter().copied().fold(1, usize::saturating_mul);
    let numbers = graph.layers().iter().map(|layer| count(&layer.shape)).fold(0, usize::saturating_add);
    let dims: Vec<usize> = std::iter::once(2).chain(graph.nominal_input().iter().copied()).collect();
    if numbers > RUN || count(&dims) > RUN {
        return;
    }
    let input = Tensor::ones(dims, DType::F32, &Device::Cpu).expect("a small tensor");
    let _ = graph.evaluate(&input, &[]);
    let _ = graph.vjp(&input, &[Tap::Input], &mut |output| Ok(vec![output.ones_like()?]));
}

/// A safetensors file: as any tensors, as weights of a small network over series, as weights of a known architecture.
pub fn weights(bytes: &[u8]) {
    let network = SeriesNetwork {
        kernels: vec![3],
        channels: 2,
        hidden: 2,
        dense: 2,
        ..SeriesNetwork::named("cnn-lstm", 2, 6, 100.0).expect("a known kind")
    };
    if let Ok(graph) = read_tensors("weights", Cursor::new(bytes)).and_then(|tensors| network.graph(&tensors)) {
        run(&graph);
    }
    let squeezenet = architecture("squeezenet1_1").expect("a known architecture");
    let _ = squeezenet.load("weights", Cursor::new(bytes), [64, 64], &Device::Cpu);
}

/// A photo; what is accepted becomes a network's input.
pub fn photo(bytes: &[u8]) {
    let decoding = Decoding { pixels: 1 << 18, ..Decoding::default() };
    if let Ok(picture) = decode_photo("photo", bytes, &decoding) {
        let small =
            Preprocessing { resize: Some(24), crop: Some([16, 16]), input_size: [16, 16], ..Preprocessing::default() };
        let _ = preprocess(&picture, &small, &Device::Cpu);
    }
}

/// The text of NASA's sets, as series and as remaining lives.
pub fn series(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(fleet) = parse_series("train.txt", &text) {
        let _ = Preparation::fit(&fleet, &PreparationOptions::default());
    }
    let _ = parse_lives("RUL.txt", &text);
}

/// A zip file with NASA's text.
pub fn archive(bytes: &[u8]) {
    let set = CmapssSet::named("FD001").expect("a known set");
    with_files(&[("data.zip", bytes)], |folder| {
        let _ = set.train(&folder.join("data.zip"));
        let _ = set.test(&folder.join("data.zip"));
    });
}

/// A table of one's own, as CSV and as Parquet.
pub fn table(bytes: &[u8]) {
    let name = if bytes.starts_with(b"PAR1") { "fleet.parquet" } else { "fleet.csv" };
    with_files(&[(name, bytes)], |folder| {
        let _ = read_columns(&folder.join(name), &Columns::default());
    });
}

/// The JSON beside an ONNX model.
pub fn side(bytes: &[u8]) {
    const MODEL: &[u8] = include_bytes!("../../fixtures/goldens/onnx/dynamo18_cnn.onnx");
    with_files(&[("net.onnx", MODEL), ("net.json", bytes)], |folder| {
        let _ = Model::load(&ModelSource::Onnx(folder.join("net.onnx")), &Loading::default());
    });
}

/// A sum of outputs in a user's words.
pub fn expression(bytes: &[u8]) {
    let parts =
        [("density".to_owned(), vec![4, 4]), ("a name".to_owned(), vec![3]), ("heat".to_owned(), vec![2, 3, 4])];
    let _ = read_sums(&[String::from_utf8_lossy(bytes).into_owned()], &parts);
}

/// Boxes of objects on photos, as COCO's annotations.
pub fn boxes(bytes: &[u8]) {
    with_files(&[("boxes.json", bytes)], |folder| {
        let _ = Masks::new(folder.join("boxes.json"));
    });
}

/// The JSON beside a network of the remaining life.
pub fn about(bytes: &[u8]) {
    const WEIGHTS: &[u8] = include_bytes!("../../crates/rul/shipped/pumps.safetensors");
    with_files(&[("pumps.safetensors", WEIGHTS), ("pumps.json", bytes)], |folder| {
        let _ = RulModel::load(&folder.join("pumps.safetensors"));
    });
}

/// A saved map; what is accepted is rescaled for display and saved again.
pub fn map(bytes: &[u8]) {
    if let Ok(map) = decode_npy(bytes) {
        let again = decode_npy(&encode_npy(&map)).expect("what is written can be read");
        assert_eq!((again.height(), again.width()), (map.height(), map.width()));
        let _ = rescale(&map, &Scale { signed: true, percentile: 99.0, ..Scale::default() });
    }
}

/// The head of an HTTP request.
pub fn request(bytes: &[u8]) {
    let _ = faithful_serve::head_is_understood(bytes);
}

/// The Parquet file of an evaluation run.
pub fn rows(bytes: &[u8]) {
    const MANIFEST: &[u8] = br#"{"version":"0","model":"m","images":"i","image_count":1,"methods":["grad-cam"],
        "metrics":["drop"],"protocol":"p","layer":"l","class":"c","seed":7}"#;
    with_files(&[("manifest.json", MANIFEST), ("rows-1-of-1.parquet", bytes)], |folder| {
        let _ = Store::open(folder).and_then(|(store, _)| store.rows());
    });
}

fn with_files(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a folder for the files");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    read(folder.path());
}
