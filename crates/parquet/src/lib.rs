//! Reads Parquet files that may be damaged: with an error, without a panic, and within memory that the file can pay for.
//!
//! The library beneath panics where places and lengths make no sense, and asks for as much memory as a dictionary or a list
//! says that it has values, up to 16 GB for a file of a few kilobytes. Here the footer and the pages' heads are looked at
//! before anything is decoded.

mod claims;
mod column;
mod decode;
mod grammar;
mod thrift;
mod write;

pub use column::{Cells, Field, Kind, Rows};
pub use write::Writer;

use bytes::Bytes;
use faithful_core::{Error, Result, caught};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::HashMap;
use std::sync::Arc;

/// So many rows are decoded at a time.
const ROWS: usize = 1024;

/// What a Parquet file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its columns.
    pub fields: Arc<[Field]>,
    /// Names and values that its writer put beside them.
    pub metadata: HashMap<String, String>,
}

/// Gives the rows of a Parquet file to `each`, some at a time, and then what the file says of itself. `what` names the file in
/// errors.
///
/// ```
/// # use faithful_parquet::{Cells, Field, Kind, Writer};
/// # let mut writer = Writer::new(Vec::new(), vec![Field::new("cycle", Kind::Double, true)], &[])?;
/// # writer.write(&[Cells::Numbers(vec![Some(1.0), Some(2.0), None])])?;
/// # let bytes = writer.finish()?;
/// let mut found = 0;
/// let about = faithful_parquet::read("engines.parquet", &bytes.into(), |rows| {
///     found += rows.count;
///     Ok(())
/// })?;
/// assert_eq!((found, about.fields[0].name.as_str()), (3, "cycle"));
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Format`] where the file is damaged or has a column that is no text, number, point of time or list of numbers, and
/// what `each` gives.
pub fn read(what: &str, bytes: &Bytes, each: impl FnMut(Rows) -> Result<()>) -> Result<About> {
    let refused = |claim: String| broken(what, &claim);
    claims::check_footer(bytes).map_err(refused)?;
    let work = || rows_of(what, bytes, each);
    caught(work).unwrap_or_else(|| Err(broken(what, "its places and lengths make no sense")))
}

fn broken(what: &str, reason: &str) -> Error {
    Error::format(what, format!("it is no whole Parquet file: {reason}"))
}

/// What the reader says of a file that is damaged.
fn unreadable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::format_because(what, format!("it is no whole Parquet file: {error}"), error)
}

fn rows_of(what: &str, bytes: &Bytes, mut each: impl FnMut(Rows) -> Result<()>) -> Result<About> {
    let damaged = |error| unreadable(what, error);
    let reader = SerializedFileReader::new(bytes.clone()).map_err(damaged)?;
    let metadata = reader.metadata();
    claims::check_pages(bytes, metadata).map_err(|claim| broken(what, &claim))?;
    let leaves = decode::leaves(metadata.file_metadata().schema_descr());
    let leaves = leaves.map_err(|column| Error::format(what, format!("{column}, no text, number or point of time")))?;
    let fields: Arc<[Field]> = leaves.iter().map(|leaf| leaf.field.clone()).collect();
    for group in 0..metadata.num_row_groups() {
        let group = reader.get_row_group(group).map_err(damaged)?;
        let columns = 0..leaves.len();
        let readers =
            columns.map(|column| group.get_column_reader(column)).collect::<parquet::errors::Result<Vec<_>>>();
        let mut readers = readers.map_err(damaged)?;
        let mut left = usize::try_from(group.metadata().num_rows())
            .map_err(|_| broken(what, "a group has fewer rows than none"))?;
        while left > 0 {
            let count = left.min(ROWS);
            let columns = leaves.iter().zip(&mut readers).map(|(leaf, reader)| leaf.read(reader, count));
            let columns = columns.collect::<parquet::errors::Result<Vec<_>>>().map_err(damaged)?;
            each(Rows { fields: fields.clone(), count, columns })?;
            left -= count;
        }
    }
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let metadata = pairs.filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?))).collect();
    Ok(About { fields, metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, Kind, Cells)]) -> Vec<u8> {
        let fields = columns.iter().map(|(name, kind, _)| Field::new(*name, *kind, true)).collect();
        let mut writer = Writer::new(Vec::new(), fields, &[]).unwrap();
        writer.write(&columns.iter().map(|(_, _, cells)| cells.clone()).collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap()
    }

    fn file(rows: usize) -> Vec<u8> {
        let names = (0..rows).map(|row| Some(format!("name {}", row % 7))).collect();
        let values = (0..rows).map(|row| Some((row % 50) as f64)).collect();
        table(&[("name", Kind::Text, Cells::Texts(names)), ("value", Kind::Double, Cells::Numbers(values))])
    }

    fn rows(bytes: &[u8]) -> Result<usize> {
        let mut rows = 0;
        read("rows", &Bytes::copy_from_slice(bytes), |part| {
            rows += part.count;
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn whole_files_are_read_however_well_they_are_packed() {
        assert_eq!(rows(&file(3)).unwrap(), 3);
        let bytes = table(&[("value", Kind::Double, Cells::Numbers(vec![Some(1.5); 900_000]))]);
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        assert_eq!(rows(&bytes).unwrap(), 900_000);
    }

    #[test]
    fn a_change_in_any_byte_is_an_error_or_another_table() {
        let whole = file(120);
        for place in 0..whole.len() {
            for change in [0x01, 0x40, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= change;
                // What matters is that it comes back.
                let _ = rows(&bytes);
            }
        }
        for end in [0, 3, 12, whole.len() / 2, whole.len() - 1] {
            let error = rows(&whole[..end]).unwrap_err().to_string();
            assert!(error.contains("no whole Parquet file"), "{error}");
        }
    }

    #[test]
    fn a_dictionary_that_claims_more_than_it_holds_is_refused() {
        let whole = file(120);
        let refused = (0..whole.len()).any(|place| {
            // Thrift's numbers of five bytes, at every place where one could stand.
            let mut bytes = whole.clone();
            bytes[place] = bytes[place].wrapping_add(0x40);
            rows(&bytes).is_err_and(|error| error.to_string().contains("cannot have"))
        });
        assert!(refused, "some change makes a dictionary larger");
    }

    #[test]
    fn what_the_reader_refuses_comes_back_as_it_is() {
        let refuse = |_| Err(Error::parameter("row", "it is not wanted"));
        let error = read("rows", &file(3).into(), refuse).unwrap_err().to_string();
        assert!(error.contains("not wanted"), "{error}");
    }
}
