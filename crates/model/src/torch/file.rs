//! Where in a file each tensor lies.

use super::pickle::{Counted, Object, Pickle, Value, read};
use super::state::{Described, State, describe};
use crate::weights::Checkpoint;
use faithful_core::Error;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use zip::{CompressionMethod, ZipArchive};

/// A tensor in a file: element `(i, j, …)` lies at `place` and `i, j, …` times `strides` elements of its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    /// In bytes from the beginning of the file.
    pub(super) place: u64,
}

/// What a file was read as, in words.
pub(super) type Format = &'static str;

/// No state dictionary is described by as many bytes; a longer description is a mistake or an attack.
const LONGEST: u64 = 1 << 28;

/// What `torch.save` wrote first before there were zip files, as a little-endian number.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// All tensors of `file`, whatever it is; `what` names it in errors.
///
/// # Errors
/// [`Error::Io`], and [`Error::Format`] with what is wrong.
pub(super) fn tensors(what: &str, file: &mut File) -> Result<(Vec<Stored>, Format), Error> {
    let failed = |source| Error::Io { path: what.into(), source };
    let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let mut start = [0; 512];
    let mut filled = 0;
    while filled < start.len() {
        match file.read(&mut start[filled..]).map_err(failed)? {
            0 => break,
            count => filled += count,
        }
    }
    file.rewind().map_err(failed)?;
    let refuse = |reason: String| Error::format(what, reason);
    let (tensors, format) = match &start[..filled] {
        [b'P', b'K', 3 | 5, 4 | 6, ..] => (archive(what, file)?, "a checkpoint of PyTorch"),
        [0x80, 2..=5, 0x8a, 10, rest @ ..] if rest.starts_with(&MAGIC) => {
            (stream(file, length).map_err(refuse)?, "a checkpoint of PyTorch before 1.6")
        }
        [_, _, _, _, _, _, _, 0, b'{', ..] => (safetensors(what, file)?, "safetensors"),
        start if start.get(257..262) == Some(b"ustar") => {
            let way_out = "load it with torch and save its state dictionary again";
            return Err(refuse(format!(
                "it is a checkpoint of PyTorch before 0.2, a tar file, which is not read; {way_out}"
            )));
        }
        [0x80, ..] => return Err(refuse("it is a pickle that torch.save did not write".into())),
        _ => return Err(refuse("it is neither a checkpoint of PyTorch nor safetensors".into())),
    };
    let mut bytes = 0_u64;
    for tensor in &tensors {
        bytes = bytes.saturating_add(within(tensor, length).map_err(refuse)?);
    }
    // Tensors may share and repeat what is stored, but a small file must not fill the disk.
    if bytes > length.saturating_mul(8) {
        return Err(refuse(format!("its tensors take {bytes} bytes, far more than the file")));
    }
    Ok((tensors, format))
}

/// The zip file of PyTorch 1.6 and later: `NAME/data.pkl` and the storages as `NAME/data/KEY`, not compressed.
fn archive(what: &str, file: &mut File) -> Result<Vec<Stored>, Error> {
    let broken =
        |error: zip::result::ZipError| Error::format_because(what, format!("it is a damaged zip file: {error}"), error);
    let refuse = |reason: String| Error::format(what, reason);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut root: Option<(String, usize)> = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(refuse(format!("`{name}` in it is compressed; torch.save never does that")));
        }
        if let Some(prefix) = name.strip_suffix("data.pkl")
            && root.is_none()
        {
            root = Some((prefix.to_owned(), index));
        }
        let place = entry.data_start().ok_or_else(|| refuse(format!("`{name}` in it has no place")))?;
        places.insert(name, (place, entry.size()));
    }
    let Some((prefix, index)) = root else {
        return Err(refuse("it is a zip file without data.pkl: no checkpoint of PyTorch".into()));
    };
    if let Some(index) = archive.index_for_name(&format!("{prefix}byteorder")) {
        let mut order = String::new();
        let read = archive.by_index_raw(index).map_err(broken)?.take(16).read_to_string(&mut order);
        if read.is_err() || order.trim() != "little" {
            return Err(refuse(format!("its numbers are {}-endian, which are not read", order.trim())));
        }
    }
    let pickle = archive.by_index_raw(index).map_err(broken)?;
    let pickle = read(&mut Counted::new(BufReader::new(pickle.take(LONGEST)))).map_err(refuse)?;
    let state = describe(&pickle).map_err(refuse)?;
    let storages = state.storages.iter().filter_map(|(key, dtype)| {
        let (place, bytes) = places.get(&format!("{prefix}data/{key}"))?;
        Some((key.clone(), Storage { place: *place, bytes: *bytes, dtype: *dtype }))
    });
    stored(&state, &storages.collect()).map_err(refuse)
}

/// The stream before it: five pickles (magic number, protocol, system, the object, keys), then each storage with its
/// length in front.
fn stream(file: &mut File, length: u64) -> Result<Vec<Stored>, String> {
    let mut input = Counted::new(BufReader::new(&mut *file).take(LONGEST));
    read(&mut input)?;
    if read(&mut input)?.root != Value::Int(1001) {
        return Err("it is of an unknown version of torch.save".into());
    }
    let system = read(&mut input)?;
    let entries = system.dictionary(system.root).unwrap_or_default();
    if entries.iter().any(|(key, value)| system.text(*key) == Some("little_endian") && *value == Value::Bool(false)) {
        return Err("its numbers are big-endian, which are not read".into());
    }
    let state = describe(&read(&mut input)?)?;
    let keys = read(&mut input)?;
    let mut place = input.position;
    let mut storages = BTreeMap::new();
    for key in keys.sequence(keys.root).ok_or("its list of storages is damaged")? {
        let key = text_of(&keys, *key).ok_or("its list of storages is damaged")?;
        let dtype = *state.storages.get(&key).ok_or_else(|| format!("its storage {key} is of no known type"))?;
        let mut count = [0; 8];
        let read = file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut count));
        read.map_err(|_| "it is cut off".to_owned())?;
        let bytes = bytes_of(u64::from_le_bytes(count), dtype).filter(|bytes| *bytes <= length);
        let bytes = bytes.ok_or("it is cut off, or a storage's length is damaged")?;
        place += 8;
        storages.insert(key, Storage { place, bytes, dtype });
        place += bytes;
        if place > length {
            return Err(format!("it is cut off: it has {length} bytes and should have at least {place}"));
        }
    }
    stored(&state, &storages)
}

/// Python 2's strings of bytes are texts here.
fn text_of(pickle: &Pickle, value: Value) -> Option<String> {
    match pickle.object(value)? {
        Object::Text(text) => Some(text.clone()),
        _ => None,
    }
}

struct Storage {
    place: u64,
    bytes: u64,
    dtype: Dtype,
}

fn bytes_of(count: u64, dtype: Dtype) -> Option<u64> {
    count.checked_mul(dtype.bitsize() as u64 / 8)
}

fn stored(state: &State, storages: &BTreeMap<String, Storage>) -> Result<Vec<Stored>, String> {
    let find = |described: &Described| {
        let name = &described.name;
        let storage = storages.get(&described.storage).ok_or_else(|| format!("the values of `{name}` are missing"))?;
        let offset = bytes_of(described.offset as u64, storage.dtype).ok_or("an offset is too large")?;
        let end = bytes_of(extent(&described.shape, &described.strides).unwrap_or(u64::MAX), storage.dtype)
            .and_then(|extent| extent.checked_add(offset));
        if end.is_none_or(|end| end > storage.bytes) {
            return Err(format!("`{name}` reaches behind its storage of {} bytes", storage.bytes));
        }
        Ok(Stored {
            name: name.clone(),
            dtype: storage.dtype,
            shape: described.shape.clone(),
            strides: described.strides.clone(),
            place: storage.place.checked_add(offset).ok_or("an offset is too large")?,
        })
    };
    state.tensors.iter().map(find).collect()
}

fn safetensors(what: &str, file: &mut File) -> Result<Vec<Stored>, Error> {
    let checkpoint = Checkpoint::new(what, file)?;
    let places = checkpoint.places();
    Ok(places
        .into_iter()
        .map(|(name, dtype, shape, place)| Stored { name, dtype, strides: contiguous(&shape), shape, place })
        .collect())
}

/// The strides of a tensor whose elements follow each other.
pub(super) fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

/// How many elements there are up to the last one; `None` beyond all numbers.
fn extent(shape: &[usize], strides: &[usize]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .zip(strides)
        .try_fold(1_u64, |extent, (size, stride)| extent.checked_add((*size as u64 - 1).checked_mul(*stride as u64)?))
}

/// How many bytes a tensor takes that lies in a file of `length` bytes.
fn within(tensor: &Stored, length: u64) -> Result<u64, String> {
    let Stored { name, dtype, shape, strides, place } = tensor;
    let end = extent(shape, strides).and_then(|extent| bytes_of(extent, *dtype)?.checked_add(*place));
    if end.is_none_or(|end| end > length) {
        return Err(format!("`{name}` reaches behind the file's end: it is cut off"));
    }
    let count = shape.iter().try_fold(1_u64, |count, size| count.checked_mul(*size as u64));
    count.and_then(|count| bytes_of(count, *dtype)).ok_or_else(|| format!("`{name}` has the shape {shape:?}"))
}
