use super::file::{Format, Stored, contiguous, tensors};
use super::names::as_torchvision;
use crate::Architecture;
use crate::weights::Checkpoint;
use faithful_core::{Error, Result, open_file, write_atomic_with};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// What it was, in words.
    pub format: Format,
    /// How many tensors there are.
    pub tensors: usize,
    /// How many bytes they take.
    pub bytes: u64,
}

/// How much is copied at a time.
const CHUNK: usize = 1 << 20;

/// Writes the tensors of `from`, a state dictionary as `torch.save` writes it or safetensors, to `to` as safetensors under
/// torchvision's names, as a whole or not at all. With an architecture, tensors that are not exactly its own are refused.
///
/// Nothing in the file is run. Tensors keep their types; memory is taken for one megabyte, or for one tensor where its
/// elements do not follow each other in the file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for what is no checkpoint, is damaged or cut off, holds a whole module instead of its
/// state dictionary, or does not fit the architecture.
pub fn convert_weights(from: &Path, to: &Path, architecture: Option<&Architecture>) -> Result<Converted> {
    let what = from.display().to_string();
    let mut source = open_file(from)?;
    let (mut tensors, format) = tensors(&what, &mut source)?;
    as_torchvision(&mut tensors);
    // Wide elements first keep all of them aligned.
    tensors.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.name.cmp(&b.name)));
    let header = header(&what, &tensors)?;
    let bytes = tensors.iter().map(length).sum();
    write_atomic_with(to, |file| {
        let failed = |source| Error::Io { path: to.display().to_string(), source };
        let mut writer = BufWriter::new(&mut *file);
        writer.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        writer.write_all(&header).map_err(failed)?;
        for tensor in &tensors {
            copy(&what, tensor, &mut source, &mut |bytes| writer.write_all(bytes).map_err(failed))?;
        }
        writer.flush().map_err(failed)?;
        drop(writer);
        match architecture {
            Some(architecture) => architecture.check(&Checkpoint::new(&what, file)?),
            None => Ok(()),
        }
    })?;
    Ok(Converted { format, tensors: tensors.len(), bytes })
}

/// The format's header, padded so that the numbers behind it are aligned.
fn header(what: &str, tensors: &[Stored]) -> Result<Vec<u8>> {
    let mut map = Map::new();
    map.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut start = 0;
    for tensor in tensors {
        let end = start + length(tensor);
        let dtype = serde_json::to_value(tensor.dtype).map_err(|error| Error::format_from(what, error))?;
        let entry = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] });
        if map.insert(tensor.name.clone(), entry).is_some() {
            return Err(Error::format(what, format!("two tensors are called `{}`", tensor.name)));
        }
        start = end;
    }
    let mut text = Value::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

fn size(tensor: &Stored) -> usize {
    tensor.dtype.bitsize() / 8
}

/// In bytes; `tensors` has made sure that it is a number.
fn length(tensor: &Stored) -> u64 {
    (tensor.shape.iter().product::<usize>() * size(tensor)) as u64
}

/// Hands a tensor's elements to `write` in order.
fn copy(what: &str, tensor: &Stored, source: &mut File, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let failed = |source| Error::Io { path: what.into(), source };
    source.seek(SeekFrom::Start(tensor.place)).map_err(failed)?;
    if tensor.strides == contiguous(&tensor.shape) || length(tensor) == 0 {
        let mut left = length(tensor) as usize;
        let mut chunk = vec![0; CHUNK.min(left)];
        while left > 0 {
            let count = left.min(CHUNK);
            source.read_exact(&mut chunk[..count]).map_err(failed)?;
            write(&chunk[..count])?;
            left -= count;
        }
        return Ok(());
    }
    let size = size(tensor);
    let last: usize = tensor.shape.iter().zip(&tensor.strides).map(|(size, stride)| (size - 1) * stride).sum();
    let mut all = vec![0; (last + 1) * size];
    source.read_exact(&mut all).map_err(failed)?;
    let mut index = vec![0; tensor.shape.len()];
    let mut row = Vec::new();
    loop {
        let element: usize = index.iter().zip(&tensor.strides).map(|(place, stride)| place * stride).sum();
        row.extend_from_slice(&all[element * size..][..size]);
        if row.len() >= CHUNK {
            write(&row)?;
            row.clear();
        }
        // The next index, the last axis first.
        let Some(axis) = (0..index.len()).rev().find(|axis| index[*axis] + 1 < tensor.shape[*axis]) else {
            return write(&row);
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}
