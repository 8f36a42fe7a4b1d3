use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use faithful_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// A column of a table; what is missing is `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Words.
    Texts(Vec<Option<String>>),
    /// Numbers.
    Numbers(Vec<Option<f64>>),
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// A cell as CSV has it, empty where it is missing.
    fn text(&self, row: usize) -> String {
        match self {
            Self::Texts(texts) => texts.get(row).cloned().flatten(),
            Self::Numbers(numbers) => numbers.get(row).copied().flatten().map(|value| value.to_string()),
        }
        .unwrap_or_default()
    }
}

/// Named columns as a Parquet file.
///
/// # Errors
/// [`Error::Format`] where columns differ in length or there are none.
pub fn encode_table(columns: Vec<(&str, Cells)>) -> Result<Vec<u8>> {
    let batch = batch_of(columns)?;
    let mut bytes = Vec::new();
    let mut writer = parquet_writer(&mut bytes, &batch)?;
    writer.write(&batch).map_err(broken)?;
    writer.close().map_err(broken)?;
    Ok(bytes)
}

fn batch_of(columns: Vec<(&str, Cells)>) -> Result<RecordBatch> {
    let arrays = columns.into_iter().map(|(name, cells)| -> (&str, ArrayRef, bool) {
        match cells {
            Cells::Texts(texts) => (name, Arc::new(StringArray::from(texts)), true),
            Cells::Numbers(numbers) => (name, Arc::new(Float64Array::from(numbers)), true),
        }
    });
    RecordBatch::try_from_iter_with_nullable(arrays).map_err(broken)
}

fn parquet_writer<W: Write + Send>(sink: W, like: &RecordBatch) -> Result<ArrowWriter<W>> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    ArrowWriter::try_new(sink, like.schema(), Some(properties)).map_err(broken)
}

/// A table that is written piece by piece, in memory for one piece: CSV (RFC 4180) or Parquet.
pub struct TableWriter<'a> {
    parquet: bool,
    sink: Option<Sink<'a>>,
    file: Option<&'a mut File>,
}

enum Sink<'a> {
    Csv(Box<csv::Writer<&'a mut File>>),
    Parquet(Box<ArrowWriter<&'a mut File>>),
}

impl<'a> TableWriter<'a> {
    /// A writer to `file`, of Parquet or of CSV.
    pub fn new(file: &'a mut File, parquet: bool) -> Self {
        Self { parquet, sink: None, file: Some(file) }
    }

    /// Adds rows; every piece has the columns of the first one.
    ///
    /// # Errors
    /// [`Error::Format`] where columns differ in length, or from those of before, or the disk is full.
    pub fn write(&mut self, columns: Vec<(&str, Cells)>) -> Result<()> {
        if self.parquet { self.write_batch(&batch_of(columns)?) } else { self.write_text(&columns) }
    }

    fn file(&mut self) -> Result<&'a mut File> {
        self.file.take().ok_or_else(|| Error::internal("a table goes on after an error"))
    }

    fn write_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut writer = match self.sink.take() {
            Some(Sink::Parquet(writer)) => writer,
            _ => Box::new(parquet_writer(self.file()?, batch)?),
        };
        writer.write(batch).and_then(|()| writer.flush()).map_err(broken)?;
        self.sink = Some(Sink::Parquet(writer));
        Ok(())
    }

    fn write_text(&mut self, columns: &[(&str, Cells)]) -> Result<()> {
        let mut writer = if let Some(Sink::Csv(writer)) = self.sink.take() {
            writer
        } else {
            let mut writer = Box::new(csv::Writer::from_writer(self.file()?));
            writer.write_record(columns.iter().map(|(name, _)| name)).map_err(broken)?;
            writer
        };
        let rows = columns.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        for row in 0..rows {
            writer.write_record(columns.iter().map(|(_, cells)| cells.text(row))).map_err(broken)?;
        }
        self.sink = Some(Sink::Csv(writer));
        Ok(())
    }

    /// Writes what a file needs at its end.
    ///
    /// # Errors
    /// As [`TableWriter::write`].
    pub fn finish(self) -> Result<()> {
        match self.sink {
            Some(Sink::Parquet(writer)) => writer.close().map(drop).map_err(broken),
            Some(Sink::Csv(mut writer)) => writer.flush().map_err(broken),
            None => Ok(()),
        }
    }
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

    #[test]
    fn pieces_become_one_table_in_both_formats() {
        let folder = tempfile::tempdir().unwrap();
        for (name, parquet) in [("fleet.csv", false), ("fleet.parquet", true)] {
            let path = folder.path().join(name);
            let mut file = File::create(&path).unwrap();
            let mut writer = TableWriter::new(&mut file, parquet);
            for cycle in [1.0, 2.0] {
                let columns = vec![
                    ("unit", Cells::Texts(vec![Some("a, \"b\"".into())])),
                    ("cycle", Cells::Numbers(vec![Some(cycle)])),
                    ("T24", Cells::Numbers(vec![(cycle > 1.0).then_some(0.5)])),
                ];
                writer.write(columns).unwrap();
            }
            writer.finish().unwrap();
            let fleet = read_columns(&path, &Columns { gaps: true, ..Columns::default() }).unwrap();
            assert_eq!((fleet.units[0].name.as_str(), fleet.units[0].readings[1]), ("a, \"b\"", 0.5), "{name}");
        }
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
