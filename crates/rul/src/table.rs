use faithful_core::{Error, Result};
use faithful_parquet::{Field, Kind, Writer};
use std::fs::File;

pub use faithful_parquet::Cells;

/// A cell as CSV has it, empty where it is missing; the numbers of a list are separated by spaces.
fn text(cells: &Cells, row: usize) -> String {
    match cells {
        Cells::Texts(cells) => cells.get(row).cloned().flatten(),
        Cells::Numbers(cells) => cells.get(row).copied().flatten().map(|value| value.to_string()),
        Cells::Whole(cells) => cells.get(row).copied().flatten().map(|value| value.to_string()),
        Cells::Lists(cells) => {
            let list = cells.get(row).and_then(Option::as_ref);
            list.map(|list| list.iter().map(f64::to_string).collect::<Vec<_>>().join(" "))
        }
    }
    .unwrap_or_default()
}

/// Named columns as a Parquet file.
///
/// # Errors
/// [`Error::Format`] where columns differ in length or there are none.
pub fn encode_table(columns: Vec<(&str, Cells)>) -> Result<Vec<u8>> {
    if columns.is_empty() {
        return Err(Error::format("table", "it has no columns"));
    }
    let mut writer = Writer::new(Vec::new(), fields(&columns), &[])?;
    writer.write(&columns.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>())?;
    writer.finish()
}

fn fields(columns: &[(&str, Cells)]) -> Vec<Field> {
    let kind = |cells: &Cells| match cells {
        Cells::Texts(_) => Kind::Text,
        Cells::Numbers(_) => Kind::Double,
        Cells::Whole(_) => Kind::Unsigned64,
        Cells::Lists(_) => Kind::Doubles,
    };
    columns.iter().map(|(name, cells)| Field::new(*name, kind(cells), true)).collect()
}

/// A table that is written piece by piece, in memory for one piece: CSV (RFC 4180) or Parquet.
pub struct TableWriter<'a> {
    parquet: bool,
    sink: Option<Sink<'a>>,
    file: Option<&'a mut File>,
}

enum Sink<'a> {
    Csv(Box<csv::Writer<&'a mut File>>),
    Parquet(Box<Writer<&'a mut File>>),
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
        if self.parquet { self.write_parquet(columns) } else { self.write_text(&columns) }
    }

    fn file(&mut self) -> Result<&'a mut File> {
        self.file.take().ok_or_else(|| Error::internal("a table goes on after an error"))
    }

    fn write_parquet(&mut self, columns: Vec<(&str, Cells)>) -> Result<()> {
        let mut writer = match self.sink.take() {
            Some(Sink::Parquet(writer)) => writer,
            _ => Box::new(Writer::new(self.file()?, fields(&columns), &[])?),
        };
        writer.write(&columns.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>())?;
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
            writer.write_record(columns.iter().map(|(_, cells)| text(cells, row))).map_err(broken)?;
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
            Some(Sink::Parquet(writer)) => writer.finish().map(drop),
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
