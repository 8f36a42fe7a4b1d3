//! From the columns of a Parquet file to cells.

use crate::column::{Cells, Field, Kind};
use chrono::{DateTime, NaiveDateTime};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, DoubleType, FixedLenByteArray, FloatType, Int96};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

/// A column of the file that is read.
pub(crate) struct Leaf {
    pub(crate) field: Field,
    values: Values,
    /// The definition level of a value that is there.
    present: i16,
    /// The definition level of a list without values.
    empty: i16,
}

/// What the stored values mean.
#[derive(Clone, Copy)]
enum Values {
    Text,
    Number,
    Unsigned,
    /// Whole numbers that count so many units.
    Decimal(i32),
    Half,
    Days,
    Points(Unit),
}

#[derive(Clone, Copy)]
enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// The columns of a file, or the name and type of one that holds none of [`Kind`].
pub(crate) fn leaves(schema: &SchemaDescriptor) -> std::result::Result<Vec<Leaf>, String> {
    let roots: Vec<usize> = (0..schema.num_columns()).map(|index| schema.get_column_root_idx(index)).collect();
    schema
        .columns()
        .iter()
        .zip(&roots)
        .map(|(column, root)| {
            let alone = roots.iter().filter(|other| *other == root).count() == 1;
            let top = &schema.root_schema().get_fields()[*root];
            let nullable = top.get_basic_info().has_repetition() && top.is_optional();
            let known = values(column).filter(|_| alone).and_then(|values| {
                let kind = match (top.is_primitive(), column.max_rep_level(), values) {
                    (true, 0, values) => kind(column.physical_type(), values),
                    (false, 1, Values::Number) if is_float(column.physical_type()) => Kind::Doubles,
                    _ => return None,
                };
                let field = Field::new(top.name(), kind, nullable);
                Some(Leaf { field, values, present: column.max_def_level(), empty: i16::from(nullable) })
            });
            known.ok_or_else(|| format!("column `{}` holds {}", top.name(), described(column, top.is_primitive())))
        })
        .collect()
}

fn described(column: &ColumnDescriptor, flat: bool) -> String {
    match (flat, column.logical_type_ref()) {
        (false, _) => "a nested table".into(),
        (true, Some(logical)) => format!("{logical:?}"),
        (true, None) => format!("{:?}", column.physical_type()),
    }
}

fn is_float(kind: Type) -> bool {
    matches!(kind, Type::FLOAT | Type::DOUBLE)
}

fn kind(stored: Type, values: Values) -> Kind {
    match values {
        Values::Text => Kind::Text,
        Values::Number if stored == Type::DOUBLE => Kind::Double,
        Values::Number | Values::Decimal(_) | Values::Half => Kind::Number,
        Values::Unsigned if stored == Type::INT32 => Kind::Unsigned32,
        Values::Unsigned => Kind::Unsigned64,
        Values::Days | Values::Points(_) => Kind::Time,
    }
}

/// What a column's values mean; nothing for what is neither text, number nor point of time.
fn values(column: &ColumnDescriptor) -> Option<Values> {
    let stored = column.physical_type();
    let logical = match column.logical_type_ref() {
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Some(Values::Text),
        Some(LogicalType::Integer(whole)) => {
            Some(if whole.bit_width >= 32 && !whole.is_signed { Values::Unsigned } else { Values::Number })
        }
        Some(LogicalType::Decimal(decimal)) => Some(Values::Decimal(decimal.scale)),
        Some(LogicalType::Date) => Some(Values::Days),
        Some(LogicalType::Timestamp(points)) => Some(Values::Points(match points.unit {
            TimeUnit::MILLIS => Unit::Milliseconds,
            TimeUnit::MICROS => Unit::Microseconds,
            TimeUnit::NANOS => Unit::Nanoseconds,
        })),
        Some(LogicalType::Float16) => Some(Values::Half),
        Some(_) => return None,
        None => None,
    };
    // Files of before logical types.
    let converted = || match column.converted_type() {
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Some(Values::Text),
        ConvertedType::UINT_32 | ConvertedType::UINT_64 => Some(Values::Unsigned),
        ConvertedType::DECIMAL => Some(Values::Decimal(column.type_scale())),
        ConvertedType::DATE => Some(Values::Days),
        ConvertedType::TIMESTAMP_MILLIS => Some(Values::Points(Unit::Milliseconds)),
        ConvertedType::TIMESTAMP_MICROS => Some(Values::Points(Unit::Microseconds)),
        _ => None,
    };
    let plain = || match stored {
        Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE => Some(Values::Number),
        Type::INT96 => Some(Values::Points(Unit::Nanoseconds)),
        Type::BYTE_ARRAY => Some(Values::Text),
        Type::FIXED_LEN_BYTE_ARRAY => None,
    };
    logical.or_else(converted).or_else(plain)
}

impl Leaf {
    /// The next `rows` cells.
    pub(crate) fn read(&self, reader: &mut ColumnReader, rows: usize) -> Result<Cells> {
        let present = self.present;
        if self.field.kind == Kind::Doubles {
            return Ok(Cells::Lists(match reader {
                ColumnReader::DoubleColumnReader(reader) => self.lists::<DoubleType>(reader, rows, |value| value)?,
                ColumnReader::FloatColumnReader(reader) => self.lists::<FloatType>(reader, rows, f64::from)?,
                _ => return Err(misread()),
            }));
        }
        let numbers = |cells| Ok(Cells::Numbers(cells));
        match (self.values, reader) {
            (Values::Text, ColumnReader::ByteArrayColumnReader(reader)) => {
                Ok(Cells::Texts(flat(reader, rows, present, |value| text(&value))?))
            }
            (Values::Number, ColumnReader::BoolColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(f64::from(u8::from(value))))?)
            }
            (Values::Number, ColumnReader::Int32ColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(f64::from(value)))?)
            }
            (Values::Number, ColumnReader::Int64ColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(value as f64))?)
            }
            (Values::Number, ColumnReader::FloatColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(f64::from(value)))?)
            }
            (Values::Number, ColumnReader::DoubleColumnReader(reader)) => numbers(flat(reader, rows, present, Ok)?),
            (Values::Unsigned, ColumnReader::Int32ColumnReader(reader)) => {
                Ok(Cells::Whole(flat(reader, rows, present, |value| Ok(u64::from(value.cast_unsigned())))?))
            }
            (Values::Unsigned, ColumnReader::Int64ColumnReader(reader)) => {
                Ok(Cells::Whole(flat(reader, rows, present, |value| Ok(value.cast_unsigned()))?))
            }
            (Values::Decimal(scale), ColumnReader::Int32ColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(f64::from(value) / 10f64.powi(scale)))?)
            }
            (Values::Decimal(scale), ColumnReader::Int64ColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(value as f64 / 10f64.powi(scale)))?)
            }
            (Values::Decimal(scale), ColumnReader::ByteArrayColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(big_endian(value.data()) / 10f64.powi(scale)))?)
            }
            (Values::Decimal(scale), ColumnReader::FixedLenByteArrayColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| Ok(big_endian(value.data()) / 10f64.powi(scale)))?)
            }
            (Values::Half, ColumnReader::FixedLenByteArrayColumnReader(reader)) => {
                numbers(flat(reader, rows, present, |value| half(&value))?)
            }
            (Values::Days, ColumnReader::Int32ColumnReader(reader)) => {
                Ok(Cells::Texts(flat(reader, rows, present, |days| time(i64::from(days) * 86_400, 0))?))
            }
            (Values::Points(unit), ColumnReader::Int64ColumnReader(reader)) => {
                Ok(Cells::Texts(flat(reader, rows, present, |value| point(value, unit))?))
            }
            (Values::Points(_), ColumnReader::Int96ColumnReader(reader)) => {
                Ok(Cells::Texts(flat(reader, rows, present, |value: Int96| {
                    point(value.to_nanos(), Unit::Nanoseconds)
                })?))
            }
            _ => Err(misread()),
        }
    }

    fn lists<T: DataType>(
        &self,
        reader: &mut ColumnReaderImpl<T>,
        rows: usize,
        convert: impl Fn(T::T) -> f64,
    ) -> Result<Vec<Option<Vec<f64>>>> {
        let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let levels = Some(&mut definitions);
        let (found, ..) = reader.read_records(rows, levels, Some(&mut repetitions), &mut values)?;
        let mut values = values.into_iter();
        let mut lists: Vec<Option<Vec<f64>>> = Vec::with_capacity(rows);
        for (definition, repetition) in definitions.into_iter().zip(repetitions) {
            if repetition == 0 {
                lists.push((definition >= self.empty).then(Vec::new));
            }
            let Some(Some(list)) = lists.last_mut() else { continue };
            if definition == self.present {
                list.push(values.next().map(&convert).ok_or_else(misread)?);
            } else if definition > self.empty {
                list.push(f64::NAN);
            }
        }
        if found == rows && lists.len() == rows { Ok(lists) } else { Err(too_few(found, rows)) }
    }
}

fn flat<T: DataType, U>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    present: i16,
    convert: impl Fn(T::T) -> Result<U>,
) -> Result<Vec<Option<U>>> {
    let (mut definitions, mut values) = (Vec::new(), Vec::new());
    let levels = (present > 0).then_some(&mut definitions);
    let (found, ..) = reader.read_records(rows, levels, None, &mut values)?;
    let mut values = values.into_iter();
    let cells: Vec<Option<U>> = if present == 0 {
        values.map(|value| convert(value).map(Some)).collect::<Result<_>>()?
    } else {
        let cell = |definition| {
            if definition < present { Ok(None) } else { convert(values.next().ok_or_else(misread)?).map(Some) }
        };
        definitions.into_iter().map(cell).collect::<Result<_>>()?
    };
    if found == rows && cells.len() == rows { Ok(cells) } else { Err(too_few(found, rows)) }
}

fn misread() -> ParquetError {
    ParquetError::General("a column's values are not of its type".into())
}

fn too_few(found: usize, rows: usize) -> ParquetError {
    ParquetError::General(format!("a column has {found} cells where {rows} are announced"))
}

fn text(value: &ByteArray) -> Result<String> {
    value.as_utf8().map(str::to_owned)
}

fn half(value: &FixedLenByteArray) -> Result<f64> {
    let bytes: [u8; 2] = value.data().try_into().map_err(|_| misread())?;
    Ok(f64::from(half::f16::from_le_bytes(bytes)))
}

/// A number in two's complement, its highest byte first.
fn big_endian(bytes: &[u8]) -> f64 {
    let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1.0 } else { 0.0 };
    bytes.iter().fold(sign, |value, byte| value * 256.0 + f64::from(*byte))
}

fn point(value: i64, unit: Unit) -> Result<String> {
    let per_second = match unit {
        Unit::Milliseconds => 1_000,
        Unit::Microseconds => 1_000_000,
        Unit::Nanoseconds => 1_000_000_000,
    };
    time(value.div_euclid(per_second), value.rem_euclid(per_second) * (1_000_000_000 / per_second))
}

/// A point of time as others write it.
fn time(seconds: i64, nanoseconds: i64) -> Result<String> {
    let point = u32::try_from(nanoseconds).ok().and_then(|part| DateTime::from_timestamp(seconds, part));
    let point: NaiveDateTime = point.ok_or_else(|| ParquetError::General("a time is out of range".into()))?.naive_utc();
    Ok(point.format("%Y-%m-%dT%H:%M:%S%.f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_and_points_of_time_are_read() {
        assert_eq!(big_endian(&[0x01, 0x00]), 256.0);
        assert_eq!(big_endian(&[0xff, 0xfe]), -2.0);
        assert_eq!(point(1_772_344_800_500, Unit::Milliseconds).unwrap(), "2026-03-01T06:00:00.500");
        assert_eq!(point(-1, Unit::Nanoseconds).unwrap(), "1969-12-31T23:59:59.999999999");
        assert_eq!(time(0, 0).unwrap(), "1970-01-01T00:00:00");
        assert!(point(i64::MAX, Unit::Milliseconds).is_err());
    }
}
