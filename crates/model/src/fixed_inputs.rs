//! The values of inputs that are no picture, as the JSON beside a model gives them.

use faithful_core::{Error, Result, read_file};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Each input's numbers in row-major order: a number, lists of numbers, or the name of an `.npy` file in the model's folder.
/// `what` is the JSON's name in errors, `model` the file beside which it lies.
pub(crate) fn numbers(
    inputs: &BTreeMap<String, Value>,
    what: &str,
    model: &Path,
) -> Result<BTreeMap<String, Vec<f64>>> {
    let read = |(name, value): (&String, &Value)| {
        let refuse = |reason: String| Error::format(what, format!("inputs: `{name}`: {reason}"));
        let mut numbers = Vec::new();
        match value {
            Value::String(file) if Path::new(file).extension().is_some_and(|end| end.eq_ignore_ascii_case("npy")) => {
                let path = model.with_file_name(file);
                let bytes = read_file(&path)?;
                let array = array(&bytes).ok_or_else(|| {
                    refuse(format!("{} is no .npy file of numbers, one row after the other", path.display()))
                })?;
                numbers = array;
            }
            other => collect(other, &mut numbers)
                .ok_or_else(|| refuse(format!("{other} is neither numbers nor the name of an .npy file")))?,
        }
        if numbers.is_empty() || numbers.iter().any(|number| !number.is_finite()) {
            return Err(refuse("there must be numbers, and all of them finite".into()));
        }
        Ok((name.clone(), numbers))
    };
    inputs.iter().map(read).collect()
}

/// All of the data as numbers of `N` bytes.
fn all<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Option<Vec<f64>> {
    let (numbers, rest) = data.as_chunks::<N>();
    rest.is_empty().then(|| numbers.iter().map(|&bytes| number(bytes)).collect())
}

/// The numbers of an `.npy` file of `NumPy`, versions 1 to 3, little-endian.
fn array(bytes: &[u8]) -> Option<Vec<f64>> {
    let version = *bytes.strip_prefix(b"\x93NUMPY")?.first()?;
    let (length, start) = match version {
        1 => (usize::from(u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?)), 10),
        _ => (u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?) as usize, 12),
    };
    let (header, data) = bytes.get(start..)?.split_at_checked(length)?;
    let header: String = std::str::from_utf8(header).ok()?.split_whitespace().collect();
    let by_rows = header.contains("'fortran_order':False");
    let kind = header.split("'descr':'").nth(1)?.split('\'').next()?;
    match kind {
        _ if !by_rows => None,
        "<f4" => all(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        "<f8" => all(data, f64::from_le_bytes),
        "<i4" => all(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        "<i8" => all(data, |bytes| i64::from_le_bytes(bytes) as f64),
        "|u1" | "|b1" => all(data, |[byte]: [u8; 1]| f64::from(byte)),
        _ => None,
    }
}

fn collect(value: &Value, numbers: &mut Vec<f64>) -> Option<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, numbers)),
        Value::Bool(bit) => {
            numbers.push(f64::from(*bit));
            Some(())
        }
        other => {
            numbers.push(other.as_f64()?);
            Some(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn numbers_come_from_lists_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        let array = Tensor::new(&[[1.5f32, -2.0], [0.0, 4.0]], &Device::Cpu).unwrap();
        array.write_npy(folder.path().join("age.npy")).unwrap();
        std::fs::write(folder.path().join("cut.npy"), b"\x93NUMPY\x01\x00\xff").unwrap();
        let read = |text: &str| numbers(&serde_json::from_str(text).unwrap(), "m.json", &model);
        let found = read(r#"{"meta": [[0.5, 1], [true, -3]], "one": 2, "age": "age.npy"}"#).unwrap();
        assert_eq!(found["meta"], [0.5, 1.0, 1.0, -3.0]);
        assert_eq!((found["one"].as_slice(), found["age"].as_slice()), (&[2.0][..], &[1.5, -2.0, 0.0, 4.0][..]));
        for (text, word) in [
            (r#"{"meta": "young"}"#, "neither numbers"),
            (r#"{"meta": []}"#, "there must be numbers"),
            (r#"{"meta": [1, null]}"#, "neither numbers"),
            (r#"{"meta": "cut.npy"}"#, "is no .npy file"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("m.json: inputs: `meta`: ") && error.contains(word), "{text}: {error}");
        }
    }
}
