use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use faithful_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// A column of a table; what is missing is `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Words.
    Texts(Vec<Option<String>>),
    /// Numbers.
    Numbers(Vec<Option<f64>>),
}

/// Named columns as a Parquet file.
///
/// # Errors
/// [`Error::Format`] where columns differ in length or there are none.
pub fn encode_table(columns: Vec<(&str, Cells)>) -> Result<Vec<u8>> {
    let arrays = columns.into_iter().map(|(name, cells)| -> (&str, ArrayRef) {
        match cells {
            Cells::Texts(texts) => (name, Arc::new(StringArray::from(texts))),
            Cells::Numbers(numbers) => (name, Arc::new(Float64Array::from(numbers))),
        }
    });
    let batch = RecordBatch::try_from_iter(arrays).map_err(broken)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(broken)?;
    writer.write(&batch).map_err(broken)?;
    writer.close().map_err(broken)?;
    Ok(bytes)
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::format_from("table", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Columns, read_columns};

    #[test]
    fn what_is_written_can_be_read_as_a_fleet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.parquet");
        let numbers = |values: [f64; 2]| Cells::Numbers(values.map(Some).to_vec());
        let columns = vec![
            ("unit", Cells::Texts(vec![Some("a".into()), Some("a".into())])),
            ("cycle", numbers([1.0, 2.0])),
            ("T24", numbers([0.5, -0.5])),
        ];
        std::fs::write(&path, encode_table(columns).unwrap()).unwrap();
        let fleet = read_columns(&path, &Columns::default()).unwrap();
        assert_eq!((fleet.units[0].readings.as_slice(), fleet.units[0].end), (&[0.5, -0.5][..], None));
        assert!(encode_table(vec![("a", numbers([1.0, 2.0])), ("b", Cells::Texts(vec![None]))]).is_err());
    }

    /// A flipped bit makes a place or a length negative, at which the library panics.
    #[test]
    fn a_flipped_bit_is_an_error_or_another_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.parquet");
        let numbers = |values: [f64; 2]| Cells::Numbers(values.map(Some).to_vec());
        let bytes = encode_table(vec![("unit", numbers([1.0, 1.0])), ("cycle", numbers([1.0, 2.0]))]).unwrap();
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let _ = read_columns(&path, &Columns::default());
        }
    }
}
