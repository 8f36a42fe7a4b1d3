//! From cells to a Parquet file.

use crate::column::{Cells, Field, Kind};
use faithful_core::{Error, Result};
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Stored};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result as Written;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};
use std::io::Write;
use std::sync::Arc;

/// Writes a table piece by piece, in memory for one piece.
///
/// ```
/// use faithful_parquet::{Cells, Field, Kind, Writer};
/// let fields = vec![Field::new("cycle", Kind::Double, true)];
/// let mut writer = Writer::new(Vec::new(), fields, &[])?;
/// writer.write(&[Cells::Numbers(vec![Some(1.0), None])])?;
/// let bytes: Vec<u8> = writer.finish()?;
/// # assert_eq!(&bytes[..4], b"PAR1");
/// # Ok::<(), faithful_core::Error>(())
/// ```
pub struct Writer<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    fields: Vec<Field>,
}

impl<W: Write + Send> Writer<W> {
    /// A table of these columns; `about` are names and values in its metadata.
    ///
    /// # Errors
    /// [`Error::Format`] for columns that are read only, and where `sink` cannot be written to.
    pub fn new(sink: W, fields: Vec<Field>, about: &[(&str, String)]) -> Result<Self> {
        let types = fields.iter().map(type_of).collect::<Result<Vec<_>>>()?;
        let schema = Type::group_type_builder("schema").with_fields(types).build().map_err(broken)?;
        let about = about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let properties = properties.set_key_value_metadata(Some(about)).build();
        let writer = SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties)).map_err(broken)?;
        Ok(Self { writer, fields })
    }

    /// Adds rows, column by column.
    ///
    /// # Errors
    /// [`Error::Format`] where columns differ in length, or are not those of the table, or the disk is full.
    pub fn write(&mut self, columns: &[Cells]) -> Result<()> {
        let rows = columns.first().map_or(0, Cells::len);
        if columns.len() != self.fields.len() || columns.iter().any(|cells| cells.len() != rows) {
            let lengths: Vec<usize> = columns.iter().map(Cells::len).collect();
            let reason = format!("{} columns with {lengths:?} cells for {} fields", columns.len(), self.fields.len());
            return Err(Error::format("table", reason));
        }
        if rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(broken)?;
        for (field, cells) in self.fields.iter().zip(columns) {
            let mut column =
                group.next_column().map_err(broken)?.ok_or_else(|| Error::internal("a column is missing"))?;
            write_cells(&mut column, field, cells)?;
            column.close().map_err(broken)?;
        }
        group.close().map_err(broken)?;
        Ok(())
    }

    /// Writes the table's end.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn finish(self) -> Result<W> {
        self.writer.into_inner().map_err(broken)
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::format_from("table", error)
}

fn type_of(field: &Field) -> Result<TypePtr> {
    let repetition = if field.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let plain = |name: &str, stored, logical: Option<LogicalType>, repetition| {
        let builder = Type::primitive_type_builder(name, stored).with_logical_type(logical);
        builder.with_repetition(repetition).build().map(Arc::new)
    };
    let found = match field.kind {
        Kind::Text => plain(&field.name, Stored::BYTE_ARRAY, Some(LogicalType::String), repetition),
        Kind::Double => plain(&field.name, Stored::DOUBLE, None, repetition),
        Kind::Unsigned32 => plain(&field.name, Stored::INT32, Some(LogicalType::integer(32, false)), repetition),
        Kind::Unsigned64 => plain(&field.name, Stored::INT64, Some(LogicalType::integer(64, false)), repetition),
        Kind::Doubles => plain("item", Stored::DOUBLE, None, Repetition::OPTIONAL).and_then(|item| {
            let items = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![item]);
            let list = Type::group_type_builder(&field.name).with_repetition(repetition);
            let list = list.with_logical_type(Some(LogicalType::List)).with_converted_type(ConvertedType::LIST);
            list.with_fields(vec![Arc::new(items.build()?)]).build().map(Arc::new)
        }),
        Kind::Number | Kind::Time => {
            return Err(Error::format("table", format!("column `{}` is of a kind that is read only", field.name)));
        }
    };
    found.map_err(broken)
}

fn write_cells(column: &mut SerializedColumnWriter<'_>, field: &Field, cells: &Cells) -> Result<()> {
    let mismatch = || Err(Error::format("table", format!("the cells of column `{}` are not of its kind", field.name)));
    let written = match (field.kind, cells) {
        (Kind::Text, Cells::Texts(cells)) => {
            flat::<ByteArrayType, _>(column, field, cells, |text| ByteArray::from(text.as_str()))
        }
        (Kind::Double, Cells::Numbers(cells)) => flat::<DoubleType, _>(column, field, cells, |number| *number),
        (Kind::Unsigned32, Cells::Whole(cells)) => {
            if cells.iter().flatten().any(|whole| u32::try_from(*whole).is_err()) {
                return mismatch();
            }
            flat::<Int32Type, _>(column, field, cells, |whole| (*whole as u32).cast_signed())
        }
        (Kind::Unsigned64, Cells::Whole(cells)) => {
            flat::<Int64Type, _>(column, field, cells, |whole| whole.cast_signed())
        }
        (Kind::Doubles, Cells::Lists(cells)) => lists(column, field, cells),
        _ => return mismatch(),
    };
    written.map_err(broken)
}

fn flat<T: DataType, C>(
    column: &mut SerializedColumnWriter<'_>,
    field: &Field,
    cells: &[Option<C>],
    convert: impl Fn(&C) -> T::T,
) -> Written<()> {
    let values: Vec<T::T> = cells.iter().flatten().map(convert).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    column.typed::<T>().write_batch(&values, field.nullable.then_some(&levels), None).map(drop)
}

fn lists(column: &mut SerializedColumnWriter<'_>, field: &Field, cells: &[Option<Vec<f64>>]) -> Written<()> {
    let empty = i16::from(field.nullable);
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        let list = cell.as_deref().unwrap_or_default();
        if list.is_empty() {
            definitions.push(if cell.is_some() { empty } else { 0 });
            repetitions.push(0);
        }
        for (place, value) in list.iter().enumerate() {
            values.push(*value);
            definitions.push(empty + 2);
            repetitions.push(i16::from(place > 0));
        }
    }
    column.typed::<DoubleType>().write_batch(&values, Some(&definitions), Some(&repetitions)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    #[test]
    fn what_is_written_is_read_again() {
        let fields = vec![
            Field::new("name", Kind::Text, false),
            Field::new("note", Kind::Text, true),
            Field::new("value", Kind::Double, true),
            Field::new("class", Kind::Unsigned32, true),
            Field::new("seed", Kind::Unsigned64, false),
            Field::new("curve", Kind::Doubles, true),
        ];
        let columns = [
            Cells::Texts(vec![Some("a".into()), Some("ü".into()), Some(String::new())]),
            Cells::Texts(vec![None, Some("b".into()), None]),
            Cells::Numbers(vec![Some(0.1 + 0.2), None, Some(f64::INFINITY)]),
            Cells::Whole(vec![Some(u64::from(u32::MAX)), None, Some(0)]),
            Cells::Whole(vec![Some(u64::MAX), Some(1 << 63), Some(7)]),
            Cells::Lists(vec![Some(vec![0.5, -1.0]), None, Some(Vec::new())]),
        ];
        let mut writer = Writer::new(Vec::new(), fields.clone(), &[("run", "7".into())]).unwrap();
        for _ in 0..2 {
            writer.write(&columns).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut parts = Vec::new();
        let about = read("table", &bytes.into(), |rows| {
            parts.push(rows.columns);
            Ok(())
        })
        .unwrap();
        assert_eq!((&*about.fields, about.metadata["run"].as_str()), (&*fields, "7"));
        assert_eq!(parts, [columns.to_vec(), columns.to_vec()]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = |kind, cells: Cells| {
            let mut writer = Writer::new(Vec::new(), vec![Field::new("a", kind, true)], &[])?;
            writer.write(&[cells])?;
            writer.finish()
        };
        assert!(one(Kind::Unsigned32, Cells::Whole(vec![Some(1 << 32)])).is_err());
        assert!(one(Kind::Text, Cells::Whole(vec![Some(1)])).is_err());
        assert!(one(Kind::Time, Cells::Texts(vec![])).unwrap_err().to_string().contains("read only"));
        let mut writer = Writer::new(Vec::new(), vec![Field::new("a", Kind::Double, true)], &[]).unwrap();
        assert!(writer.write(&[]).unwrap_err().to_string().contains("0 columns"));
    }
}
