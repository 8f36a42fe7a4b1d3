//! Scans in NIfTI-1 files, plain or by gzip.

use faithful_core::{Error, Result};
use flate2::read::MultiGzDecoder;
use nifti::{InMemNiftiVolume, NiftiError, NiftiHeader, NiftiVolume, RandomAccessNiftiVolume};
use std::io::Read;

/// The length of a header, and where its kind stands in it.
const HEADER: usize = 348;
const KIND: std::ops::Range<usize> = 344..347;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Where the values begin at the latest: behind the header and what programs put between.
const LATEST: u64 = 16 << 20;

/// Whether a file begins as one.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    let mut head = [0; HEADER];
    reader(bytes).read_exact(&mut head).is_ok() && matches!(&head[KIND], b"n+1" | b"ni1")
}

fn reader(bytes: &[u8]) -> Box<dyn Read + '_> {
    if bytes.starts_with(&GZIP) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) }
}

/// A scan whose size is known before its values are read.
pub(crate) struct Scan<'a> {
    name: &'a str,
    header: NiftiHeader,
    reader: Box<dyn Read + 'a>,
}

impl<'a> Scan<'a> {
    /// # Errors
    /// [`Error::Format`] for a damaged header, and for a header alone, whose values lie in another file.
    pub(crate) fn open(name: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = reader(bytes);
        let header = NiftiHeader::from_reader(&mut reader).map_err(|error| damaged(name, &error))?;
        if &header.magic[..3] == b"ni1" {
            let reason =
                "the values of this NIfTI header lie in another file; save header and values as one, as `scan.nii`";
            return Err(Error::format(name, reason));
        }
        let behind = f64::from(header.vox_offset) - HEADER as f64;
        if !(0.0..=LATEST as f64).contains(&behind) {
            return Err(Error::format(
                name,
                format!("a damaged NIfTI file: its values begin at {}", header.vox_offset),
            ));
        }
        std::io::copy(&mut reader.by_ref().take(behind as u64), &mut std::io::sink())
            .map_err(|error| damaged(name, &error.into()))?;
        Ok(Self { name, header, reader })
    }

    /// Its sides as the file has them, those of one voxel at the end left out: columns, rows, slices, channels.
    pub(crate) fn sides(&self) -> Result<Vec<usize>> {
        let sides = self.header.dim().map_err(|error| damaged(self.name, &error))?;
        let mut sides: Vec<usize> = sides.iter().map(|side| usize::from(*side)).collect();
        while sides.len() > 3 && sides.last() == Some(&1) {
            sides.pop();
        }
        Ok(sides)
    }

    /// Each channel's values `(slices, rows, columns)`, with the file's own slope and intercept. `turned`: the file has slices first
    /// where others have columns.
    pub(crate) fn channels(self, turned: bool) -> Result<Vec<Vec<f32>>> {
        let sides = self.sides()?;
        let name = self.name;
        let volume = InMemNiftiVolume::from_reader(self.reader, &self.header).map_err(|error| damaged(name, &error))?;
        let axes = volume.dim().len();
        let (slices, rows, columns) =
            if turned { (sides[0], sides[1], sides[2]) } else { (sides[2], sides[1], sides[0]) };
        let value = |channel: usize, at: usize| -> Result<f32> {
            let (slice, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
            let mut place = vec![0_u16; axes];
            for (place, at) in place.iter_mut().zip(if turned { [slice, row, column] } else { [column, row, slice] }) {
                *place = at as u16;
            }
            if let Some(place) = place.get_mut(3) {
                *place = channel as u16;
            }
            volume.get_f32(&place).map_err(|error| damaged(name, &error))
        };
        let channels = sides.get(3).copied().unwrap_or(1);
        (0..channels).map(|channel| (0..slices * rows * columns).map(|at| value(channel, at)).collect()).collect()
    }
}

fn damaged(name: &str, error: &NiftiError) -> Error {
    match error {
        NiftiError::Io(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::format(name, format!("a damaged NIfTI file: {error}"))
        }
        NiftiError::Io(_) | NiftiError::IncompatibleLength(..) => Error::format(name, "a NIfTI file that is cut short"),
        other => Error::format(name, format!("a NIfTI file that cannot be read: {other}")),
    }
}
