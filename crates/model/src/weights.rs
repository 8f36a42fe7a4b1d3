use candle_core::{Device, Tensor};
use faithful_core::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::io::{self, Read, Seek, SeekFrom};

/// A safetensors file whose tensors are read one by one, straight into the memory where they stay: no tensor that
/// nobody asks for is read, and none is held twice.
#[derive(Debug)]
pub(crate) struct Checkpoint<R> {
    what: String,
    source: R,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    start: u64,
}

/// The format's own limit; a longer header is a broken or malicious file.
const LONGEST_HEADER: u64 = 100_000_000;
/// How much is read at a time while converting.
const CHUNK: usize = 1 << 20;

impl<R: Read + Seek> Checkpoint<R> {
    /// Reads the header; `what` names the file in errors.
    pub(crate) fn new(what: &str, mut source: R) -> Result<Self> {
        let failed = |error| Error::Io { path: what.into(), source: error };
        let broken = |reason: String| Error::format(what, reason);
        let length = source.seek(SeekFrom::End(0)).map_err(failed)?;
        source.rewind().map_err(failed)?;
        if length < 8 {
            return Err(broken(format!("no safetensors file: {length} bytes are too few for its header's length")));
        }
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes).map_err(failed)?;
        let header = u64::from_le_bytes(bytes);
        if header > LONGEST_HEADER || header > length - 8 {
            let reason = format!(
                "no safetensors file, or cut off: it announces a header of {header} bytes and has {}",
                length - 8
            );
            return Err(broken(reason));
        }
        let mut text = vec![0; header as usize];
        source.read_exact(&mut text).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| {
            let reason = format!("no safetensors file: its header is not readable ({error})");
            Error::format_because(what, reason, error)
        })?;
        let start = 8 + header;
        let announced = metadata.data_len() as u64;
        if announced != length - start {
            let got = length - start;
            let kind = if got < announced { "it is cut off" } else { "something was appended" };
            return Err(broken(format!("{kind}: its tensors take {announced} bytes and {got} are there")));
        }
        Ok(Self { what: what.into(), source, metadata, start })
    }

    /// How the file is called in errors.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The names of all tensors, in alphabetical order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        names
    }

    /// Every tensor with its type, its shape and where its bytes begin in the file.
    pub(crate) fn places(&self) -> Vec<(String, Dtype, Vec<usize>, u64)> {
        let names = self.names().into_iter();
        let place = |name: String| {
            let info = self.metadata.info(&name)?;
            Some((name, info.dtype, info.shape.clone(), self.start + info.data_offsets.0 as u64))
        };
        names.filter_map(place).collect()
    }

    /// The shape of the tensor `name`, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// The tensor `name` as f32.
    ///
    /// # Errors
    /// [`Error::Format`] when it is missing or holds no real numbers, [`Error::NotFinite`] for NaN and infinity, also
    /// where a number is too large for f32.
    pub(crate) fn read(&mut self, name: &str, device: &Device) -> Result<Tensor> {
        let what = &self.what;
        let missing = || Error::format(what, format!("there is no tensor `{name}`"));
        let info = self.metadata.info(name).ok_or_else(missing)?;
        let count: usize = info.shape.iter().product();
        let place = self.start + info.data_offsets.0 as u64;
        let failed = |error| Error::Io { path: what.clone(), source: error };
        self.source.seek(SeekFrom::Start(place)).map_err(failed)?;
        let source = &mut self.source;
        let values = match info.dtype {
            Dtype::F32 => convert(source, count, f32::from_le_bytes),
            Dtype::F16 => convert(source, count, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => convert(source, count, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => convert(source, count, |bytes| f64::from_le_bytes(bytes) as f32),
            other => {
                let reason = format!("tensor `{name}` holds {other:?}; weights are F32, F16, BF16 or F64");
                return Err(Error::format(what, reason));
            }
        };
        let values = values.map_err(failed)?;
        if let Some(first) = values.iter().position(|value| !value.is_finite()) {
            let place = format!("element {first} of {count} ({})", values[first]);
            return Err(Error::NotFinite { what: format!("{what}: tensor `{name}`"), place: Some(place) });
        }
        Ok(Tensor::from_vec(values, info.shape.as_slice(), device)?)
    }
}

fn convert<const BYTES: usize>(
    source: &mut impl Read,
    count: usize,
    value: impl Fn([u8; BYTES]) -> f32,
) -> io::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(count);
    let mut buffer = vec![0; CHUNK.min(count * BYTES)];
    while values.len() < count {
        let bytes = &mut buffer[..CHUNK.min((count - values.len()) * BYTES)];
        source.read_exact(bytes)?;
        values.extend(bytes.as_chunks().0.iter().map(|&bytes| value(bytes)));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;
    use std::io::Cursor;

    /// Two tensors, one of them empty.
    fn sound() -> Vec<u8> {
        let bytes: Vec<u8> = [1.0_f32, -2.0, 0.5, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let full = TensorView::new(Dtype::F32, vec![2, 2], &bytes).unwrap();
        let empty = TensorView::new(Dtype::F16, vec![0, 3], &[]).unwrap();
        safetensors::serialize([("a.weight", full), ("b", empty)], None).unwrap()
    }

    /// Reads everything, as a loader would.
    fn read_all(bytes: Vec<u8>) -> Result<Vec<(String, Vec<usize>)>> {
        let mut checkpoint = Checkpoint::new("w", Cursor::new(bytes))?;
        let names = checkpoint.names();
        names.into_iter().map(|name| checkpoint.read(&name, &Device::Cpu).map(|t| (name, t.dims().to_vec()))).collect()
    }

    #[test]
    fn tensors_are_read_one_by_one() {
        assert_eq!(read_all(sound()).unwrap(), [("a.weight".into(), vec![2, 2]), ("b".into(), vec![0, 3])]);
        let mut checkpoint = Checkpoint::new("w", Cursor::new(sound())).unwrap();
        let values = checkpoint.read("a.weight", &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(values, [[1.0, -2.0], [0.5, 4.0]]);
        assert_eq!(checkpoint.read("c", &Device::Cpu).unwrap_err().to_string(), "w: there is no tensor `c`");
    }

    #[test]
    fn longer_tensors_than_a_chunk_are_whole() {
        let count = CHUNK / 4 + 3;
        let bytes: Vec<u8> = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let values = convert(&mut bytes.as_slice(), count, f32::from_le_bytes).unwrap();
        assert!(values.iter().enumerate().all(|(i, &value)| value == i as f32) && values.len() == count);
    }

    #[test]
    fn broken_files_are_told_apart() {
        let cut = |length: usize| sound()[..length].to_vec();
        let header = u64::from_le_bytes(sound()[..8].try_into().unwrap()) as usize;
        let cases = [
            (Vec::new(), "0 bytes are too few"),
            (cut(7), "too few"),
            (cut(20), "announces a header of"),
            (cut(8 + header + 5), "it is cut off: its tensors take 16 bytes and 5 are there"),
            ([sound(), vec![0]].concat(), "something was appended"),
            (b"PK\x03\x04 a zip file, as torch.save writes it".to_vec(), "no safetensors file"),
            ([vec![2, 0, 0, 0, 0, 0, 0, 0], b"[]".to_vec()].concat(), "header is not readable"),
        ];
        for (bytes, word) in cases {
            let error = read_all(bytes).unwrap_err().to_string();
            assert!(error.starts_with("w: ") && error.contains(word), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_truncation_is_taken_for_a_file(length in 0_usize..200) {
            let whole = sound();
            prop_assume!(length < whole.len());
            prop_assert!(read_all(whole[..length].to_vec()).is_err());
        }

        #[test]
        fn flipped_bytes_end_in_an_error_or_a_tensor(flips in prop::collection::vec((0_usize..200, 1_u8..), 1..4)) {
            let mut bytes = sound();
            for (place, pattern) in flips {
                let place = place % bytes.len();
                bytes[place] ^= pattern;
            }
            if let Ok(tensors) = read_all(bytes) {
                prop_assert!(tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>() <= 8);
            }
        }
    }
}
