use crate::{Curve, Row};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, RecordBatch, StringArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, UInt32Type, UInt64Type};
use faithful_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

fn schema() -> Arc<Schema> {
    let points = || DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
    Arc::new(Schema::new(vec![
        Field::new("image", DataType::Utf8, false),
        Field::new("method", DataType::Utf8, false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("error", DataType::Utf8, true),
        Field::new("class", DataType::UInt32, true),
        Field::new("probability", DataType::Float64, true),
        Field::new("layer", DataType::Utf8, true),
        Field::new("seconds", DataType::Float64, true),
        Field::new("seed", DataType::UInt64, false),
        Field::new("version", DataType::Utf8, false),
        Field::new("curve_fraction", points(), true),
        Field::new("curve_score", points(), true),
    ]))
}

/// Rows as a Parquet file.
pub(crate) fn encode(rows: &[Row]) -> Result<Vec<u8>> {
    let texts =
        |pick: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(pick).collect::<StringArray>()) };
    let numbers =
        |pick: fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(pick).collect::<Float64Array>()) };
    let points = |pick: fn(&Curve) -> &[f64]| -> ArrayRef {
        let mut list = ListBuilder::new(Float64Builder::new());
        for row in rows {
            if let Some(curve) = &row.curve {
                list.values().append_slice(pick(curve));
            }
            list.append(row.curve.is_some());
        }
        Arc::new(list.finish())
    };
    let columns: Vec<ArrayRef> = vec![
        texts(|row| Some(&row.image)),
        texts(|row| Some(&row.method)),
        texts(|row| Some(&row.metric)),
        numbers(|row| row.value),
        texts(|row| row.error.as_deref()),
        Arc::new(rows.iter().map(|row| row.class).collect::<UInt32Array>()),
        numbers(|row| row.probability),
        texts(|row| row.layer.as_deref()),
        numbers(|row| row.seconds),
        Arc::new(rows.iter().map(|row| row.seed).collect::<UInt64Array>()),
        texts(|row| Some(&row.version)),
        points(|curve| &curve.fraction),
        points(|curve| &curve.score),
    ];
    let broken = |reason: String| Error::format("rows for Parquet", reason);
    let batch = RecordBatch::try_new(schema(), columns).map_err(|error| broken(error.to_string()))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).map_err(|error| broken(error.to_string()))?;
    writer.write(&batch).map_err(|error| broken(error.to_string()))?;
    writer.into_inner().map_err(|error| broken(error.to_string()))
}

/// The rows of a Parquet file.
///
/// # Errors
/// [`Error::Io`] where it cannot be opened; [`Error::Format`] where it is damaged or of another kind.
pub(crate) fn decode(path: &Path) -> Result<Vec<Row>> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| Error::Io { path: name.clone(), source })?;
    let broken = |reason: String| Error::format(name.clone(), reason);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| broken(error.to_string()))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| broken(error.to_string()))?;
        if batch.schema().fields() != schema().fields() {
            return Err(broken("its columns are not those of an evaluation run".into()));
        }
        let text = |column: usize, row: usize| {
            let array = batch.column(column).as_string::<i32>();
            array.is_valid(row).then(|| array.value(row).to_owned())
        };
        let number = |column: usize, row: usize| {
            let array = batch.column(column).as_primitive::<Float64Type>();
            array.is_valid(row).then(|| array.value(row))
        };
        let points = |column: usize, row: usize| {
            let array = batch.column(column).as_list::<i32>();
            array.is_valid(row).then(|| array.value(row).as_primitive::<Float64Type>().values().to_vec())
        };
        for row in 0..batch.num_rows() {
            let class = batch.column(5).as_primitive::<UInt32Type>();
            let curve = points(11, row).zip(points(12, row)).map(|(fraction, score)| Curve { fraction, score });
            rows.push(Row {
                image: text(0, row).unwrap_or_default(),
                method: text(1, row).unwrap_or_default(),
                metric: text(2, row).unwrap_or_default(),
                value: number(3, row),
                error: text(4, row),
                class: class.is_valid(row).then(|| class.value(row)),
                probability: number(6, row),
                layer: text(7, row),
                seconds: number(8, row),
                seed: batch.column(9).as_primitive::<UInt64Type>().value(row),
                version: text(10, row).unwrap_or_default(),
                curve,
            });
        }
    }
    Ok(rows)
}
