//! Reads Parquet files that may be damaged: with an error, without a panic, and within memory that the file can pay for.
//!
//! The library beneath panics where places and lengths make no sense, and asks for as much memory as a dictionary or a list
//! says that it has values, up to 16 GB for a file of a few kilobytes. Here the footer and the pages' heads are looked at
//! before anything is decoded.

mod claims;
mod grammar;
mod thrift;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use faithful_core::{Error, Result, caught};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Gives the rows of a Parquet file to `each`, batch by batch, and then its columns' names and types. `what` names the file in
/// errors.
///
/// ```
/// # use arrow::array::{ArrayRef, Float64Array, RecordBatch};
/// # use std::sync::Arc;
/// # let cycles: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
/// # let batch = RecordBatch::try_from_iter([("cycle", cycles)]).unwrap();
/// # let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
/// # writer.write(&batch).unwrap();
/// # let bytes = writer.into_inner().unwrap();
/// let mut rows = 0;
/// let columns = faithful_parquet::read("engines.parquet", &bytes.into(), |batch| {
///     rows += batch.num_rows();
///     Ok(())
/// })?;
/// assert_eq!((rows, columns.field(0).name().as_str()), (3, "cycle"));
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Format`] where the file is damaged, and what `each` gives.
pub fn read(what: &str, bytes: &Bytes, each: impl FnMut(RecordBatch) -> Result<()>) -> Result<SchemaRef> {
    let refused = |claim: String| broken(what, &claim);
    claims::check_footer(bytes).map_err(refused)?;
    let work = || batches(what, bytes, each);
    caught(work).unwrap_or_else(|| Err(broken(what, "its places and lengths make no sense")))
}

fn broken(what: &str, reason: &str) -> Error {
    Error::format(what, format!("it is no whole Parquet file: {reason}"))
}

/// What the reader says of a file that is damaged.
fn unreadable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::format_because(what, format!("it is no whole Parquet file: {error}"), error)
}

fn batches(what: &str, bytes: &Bytes, mut each: impl FnMut(RecordBatch) -> Result<()>) -> Result<SchemaRef> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| unreadable(what, error))?;
    claims::check_pages(bytes, builder.metadata()).map_err(|claim| broken(what, &claim))?;
    let schema = builder.schema().clone();
    for batch in builder.build().map_err(|error| unreadable(what, error))? {
        each(batch.map_err(|error| unreadable(what, error))?)?;
    }
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    fn file(rows: usize) -> Vec<u8> {
        let names: ArrayRef = Arc::new((0..rows).map(|row| Some(format!("name {}", row % 7))).collect::<StringArray>());
        let values: ArrayRef = Arc::new((0..rows).map(|row| Some((row % 50) as f64)).collect::<Float64Array>());
        let batch = RecordBatch::try_from_iter([("name", names), ("value", values)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn rows(bytes: &[u8]) -> Result<usize> {
        let mut rows = 0;
        read("rows", &Bytes::copy_from_slice(bytes), |batch| {
            rows += batch.num_rows();
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn whole_files_are_read_however_well_they_are_packed() {
        assert_eq!(rows(&file(3)).unwrap(), 3);
        let constant: ArrayRef = Arc::new(Float64Array::from(vec![1.5; 900_000]));
        let batch = RecordBatch::try_from_iter([("value", constant)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let bytes = writer.into_inner().unwrap();
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
