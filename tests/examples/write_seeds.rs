//! Writes the small files that fuzzing and `tests/tests/any_bytes.rs` start from to `fuzz/seeds/KIND/NAME`.
//!
//! `cargo run -p faithful-tests --example write_seeds`. ONNX models and photos are not among them: those of
//! `fixtures/goldens` serve.

use faithful_evaluate::{Curve, Manifest, Row, Shard, Store};
use faithful_model::SeriesNetwork;
use faithful_report::{Map, encode_npy};
use faithful_rul::{Cells, encode_table};
use safetensors::tensor::{Dtype, TensorView};
use std::error::Error;
use std::path::{Path, PathBuf};

type Done = Result<(), Box<dyn Error>>;

fn write(kind: &str, name: &str, bytes: &[u8]) -> Done {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(kind);
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(name), bytes)?)
}

fn main() -> Done {
    weights()?;
    series_and_archives()?;
    tables()?;
    side_files()?;
    requests()?;
    rows()?;
    let map = Map::new(3, 4, (0..12).map(|value| value as f32 - 4.5).collect())?;
    let sum = r#"0.5*density[0, 1] - (mean(heat[1, 0:2, -3:]) + 2.5*"a name"[2]) + sum(density)"#;
    write("expression", "sum", sum.as_bytes())?;
    write("boxes", "coco", BOXES.as_bytes())?;
    write("map", "numpy", &encode_npy(&map))?;
    write("map", "double", &double_npy())
}

/// Annotations as COCO has them.
const BOXES: &str = r#"{"images": [{"id": 7, "file_name": "a/one.jpg", "width": 6, "height": 4}], "categories": [{"id": 1, "name": "cat"}], "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 0, 2, 2.5], "iscrowd": 0}]}
"#;

/// `numpy.save` of `numpy.eye(2)`, in version 2 of the format.
fn double_npy() -> Vec<u8> {
    let header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }\n";
    let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(header);
    bytes.extend([1.0f64, 0.0, 0.0, 1.0].iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn safetensors(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Result<Vec<u8>, Box<dyn Error>> {
    let views = tensors
        .iter()
        .map(|(name, kind, shape, bytes)| Ok((*name, TensorView::new(*kind, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// Weights of the small network that the fuzzing target reads, the same with a wrong name, and other number types.
fn weights() -> Done {
    let network = SeriesNetwork {
        kernels: vec![3],
        channels: 2,
        hidden: 2,
        dense: 2,
        ..SeriesNetwork::named("cnn-lstm", 2, 6, 100.0)?
    };
    let tensors = network.random(1)?;
    let bytes = |tensor: &candle_core::Tensor| -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(tensor.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()).collect())
    };
    let mut sound = Vec::new();
    for (name, tensor) in &tensors {
        sound.push((name.as_str(), Dtype::F32, tensor.dims().to_vec(), bytes(tensor)?));
    }
    write("weights", "series", &safetensors(&sound)?)?;
    sound[0].0 = "heads.0.nothing";
    write("weights", "wrong_name", &safetensors(&sound)?)?;
    let kinds = [
        ("features.0.weight", Dtype::F16, vec![2, 2], vec![0; 8]),
        ("features.0.bias", Dtype::BF16, vec![3], vec![0x3f; 6]),
        ("classifier.1.weight", Dtype::F64, vec![1, 1], vec![0; 8]),
        ("classifier.1.num_batches_tracked", Dtype::I64, vec![], vec![0; 8]),
        ("empty", Dtype::F32, vec![0, 3], vec![]),
    ];
    write("weights", "kinds", &safetensors(&kinds)?)
}

/// Two engines of C-MAPSS's 26 columns.
fn series_text() -> String {
    let line = |unit: usize, cycle: usize| {
        let sensors: Vec<String> =
            (0..21).map(|sensor| format!("{}.{sensor:02}", 100 + unit * cycle * (1 + sensor % 3))).collect();
        format!("{unit} {cycle} 0.5 -0.25 100.0 {}  \n", sensors.join(" "))
    };
    [line(1, 1), line(1, 2), line(1, 3), line(2, 1), line(2, 2)].concat()
}

fn series_and_archives() -> Done {
    let text = series_text();
    write("series", "two_engines", text.as_bytes())?;
    write("series", "lives", b"112 \r\n98 \r\n")?;
    let entries: [(&str, &[u8]); 3] =
        [("train_FD001.txt", text.as_bytes()), ("test_FD001.txt", text.as_bytes()), ("RUL_FD001.txt", b"10\n20\n")];
    let plain = zip(&entries);
    write("archive", "plain", &plain)?;
    write("archive", "within", &zip(&[("6. Turbofan/CMAPSSData.zip", &plain)]))
}

/// A zip file of stored entries: the format's local headers, directory and end.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc32(content).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((bytes.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
    }
    let start = bytes.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend([count, count].concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

fn tables() -> Done {
    write(
        "table",
        "csv",
        b"unit,cycle,setting_1,T24,\"P \"\"30\"\"\",rul\na,1,0,1.5,2,9\na,2,0,1.6,2.5,8\nb,1,0,1.4,2,7\n",
    )?;
    let numbers = |values: [f64; 3]| Cells::Numbers(values.map(Some).to_vec());
    let columns = vec![
        ("unit", Cells::Texts(["a", "a", "b"].map(|name| Some(name.to_owned())).to_vec())),
        ("cycle", numbers([1.0, 2.0, 1.0])),
        ("T24", numbers([0.5, -0.5, 0.25])),
    ];
    write("table", "parquet", &encode_table(columns)?)
}

fn side_files() -> Done {
    write(
        "side",
        "whole",
        br#"{"input_size": [16, 16], "resize": 18, "crop": 16, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5],
"std": [0.2, 0.2, 0.2], "labels": ["a", "b", "c"], "synsets": ["n1"], "note": {"x": [1, null, true]}}"#,
    )?;
    write("side", "empty", b"{}")?;
    let about = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/rul/shipped/pumps.json");
    write("about", "pumps", &std::fs::read(about)?)
}

fn requests() -> Done {
    write(
        "request",
        "page",
        b"GET /jobs/00ff/events?class=a%20b+c&utf=%C3%A5&bad=%zz HTTP/1.1\r\nHost: localhost:8080\r\nSec-Fetch-Site: none\r\n\r\n",
    )?;
    write(
        "request",
        "photo",
        b"POST /jobs?client=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n\xff\xd8\xff\xe0",
    )
}

fn rows() -> Done {
    let folder: PathBuf = tempfile::tempdir()?.keep();
    let manifest = Manifest { version: "0".into(), protocol: "p".into(), seed: 7, ..Manifest::default() };
    let store = Store::create(&folder, &manifest)?;
    let row = |metric: &str, curve| Row {
        image: "a.png".into(),
        method: "grad-cam".into(),
        metric: metric.into(),
        value: Some(0.5),
        error: None,
        class: Some(3),
        probability: Some(0.9),
        layer: Some("features.28".into()),
        seconds: Some(0.1),
        seed: 7,
        version: "0".into(),
        protocol: "p".into(),
        curve,
    };
    let curve = Curve { fraction: vec![0.0, 0.5, 1.0], score: vec![0.1, 0.6, 0.9] };
    store.add(&[row("insertion", Some(curve)), row("drop", None)])?;
    store.gather(Shard::WHOLE, &["a.png".into()])?;
    write("rows", "two", &std::fs::read(folder.join("rows-1-of-1.parquet"))?)?;
    Ok(std::fs::remove_dir_all(folder)?)
}
