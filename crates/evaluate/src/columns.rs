use crate::{Curve, Manifest, Row};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, RecordBatch, StringArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, UInt32Type, UInt64Type};
use bytes::Bytes;
use faithful_core::{Digest, Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::sync::Arc;

const PROTOCOL: &str = "protocol";

/// The file's metadata that say of which run its rows are, and what they are.
const RUN: &str = "faithful.run";
const DIGEST: &str = "faithful.digest";

/// The columns, as `docs/runs.md` describes them.
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
        Field::new(PROTOCOL, DataType::Utf8, false),
        Field::new("version", DataType::Utf8, false),
        Field::new("curve_fraction", points(), true),
        Field::new("curve_score", points(), true),
    ]))
}

/// The digest of rows, in their order.
fn digest_of(rows: &[Row]) -> String {
    let mut digest = Digest::new();
    let number = |value: Option<f64>| value.map_or(Vec::new(), |value| value.to_bits().to_le_bytes().to_vec());
    let points = |values: &[f64]| values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect::<Vec<u8>>();
    for row in rows {
        let (image, method, metric) = row.key();
        for text in [image, method, metric, row.protocol.as_str(), row.version.as_str()] {
            digest.add(text);
        }
        for text in [&row.error, &row.layer] {
            digest.add([u8::from(text.is_some())]);
            digest.add(text.as_deref().unwrap_or_default());
        }
        digest.add(row.class.map_or(Vec::new(), |class| class.to_le_bytes().to_vec()));
        digest.add(row.seed.to_le_bytes());
        for value in [row.value, row.probability, row.seconds] {
            digest.add(number(value));
        }
        digest.add([u8::from(row.curve.is_some())]);
        let curve = row.curve.as_ref();
        digest.add(points(curve.map_or(&[], |curve| &curve.fraction)));
        digest.add(points(curve.map_or(&[], |curve| &curve.score)));
    }
    digest.finish()
}

/// Rows of the run with that digest as a Parquet file.
pub(crate) fn encode(run: &str, rows: &[Row]) -> Result<Vec<u8>> {
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
        texts(|row| Some(&row.protocol)),
        texts(|row| Some(&row.version)),
        points(|curve| &curve.fraction),
        points(|curve| &curve.score),
    ];
    let batch = RecordBatch::try_new(schema(), columns).map_err(broken)?;
    let about = [(RUN, run.to_owned()), (DIGEST, digest_of(rows))];
    let about = about.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let properties = properties.set_key_value_metadata(Some(about)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).map_err(broken)?;
    writer.write(&batch).map_err(broken)?;
    writer.into_inner().map_err(broken)
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::format_from("rows for Parquet", error)
}

/// The rows of the Parquet file of that name, which is of the run of `manifest`.
///
/// # Errors
/// [`Error::Format`] where it is damaged, of another kind or of another run.
pub(crate) fn decode(name: &str, bytes: &Bytes, manifest: &Manifest) -> Result<Vec<Row>> {
    let (rows, about) = read(name, bytes)?;
    let broken = |reason: String| Err(Error::format(name, reason));
    let said = |key: &str| about.get(key).map(String::as_str);
    if manifest.format >= 1 && said(DIGEST) != Some(&digest_of(&rows)) {
        return broken("it is damaged: its rows are not those of its digest".into());
    }
    if manifest.format >= 1 && said(RUN) != Some(&manifest.digest()) {
        return broken("its rows are of another run than the manifest's".into());
    }
    for row in &rows {
        // Rows of version 0.1 did not say their protocol at first.
        let protocol = manifest.format == 0 && row.protocol.is_empty() || row.protocol == manifest.protocol;
        if row.seed != manifest.seed || row.version != manifest.version || !protocol {
            return broken(format!(
                "its row of `{}` is of another run: seed {}, version {}, protocol `{}`, and not the manifest's {}, {}, `{}`",
                row.image, row.seed, row.version, row.protocol, manifest.seed, manifest.version, manifest.protocol
            ));
        }
    }
    Ok(rows)
}

/// The rows of a Parquet file, and what its metadata say.
fn read(name: &str, bytes: &Bytes) -> Result<(Vec<Row>, HashMap<String, String>)> {
    let broken = |reason: String| Error::format(name, reason);
    let mut rows = Vec::new();
    let read = faithful_parquet::read(name, bytes, |batch| {
        let (own, wanted) = (batch.schema(), schema());
        // Runs of version 0.1 before rows said their protocol.
        let before = wanted.fields().iter().filter(|field| field.name() != PROTOCOL);
        if own.fields() != wanted.fields() && !own.fields().iter().eq(before) {
            return Err(broken("its columns are not those of an evaluation run".into()));
        }
        let text = |column: &str, row: usize| {
            let array = batch.column_by_name(column)?.as_string::<i32>();
            array.is_valid(row).then(|| array.value(row).to_owned())
        };
        let number = |column: &str, row: usize| {
            let array = batch.column_by_name(column)?.as_primitive::<Float64Type>();
            array.is_valid(row).then(|| array.value(row))
        };
        let points = |column: &str, row: usize| {
            let array = batch.column_by_name(column)?.as_list::<i32>();
            array.is_valid(row).then(|| array.value(row).as_primitive::<Float64Type>().values().to_vec())
        };
        let class = batch.column_by_name("class").map(AsArray::as_primitive::<UInt32Type>);
        let seed = batch.column_by_name("seed").map(AsArray::as_primitive::<UInt64Type>);
        for row in 0..batch.num_rows() {
            let curve = points("curve_fraction", row).zip(points("curve_score", row));
            rows.push(Row {
                image: text("image", row).unwrap_or_default(),
                method: text("method", row).unwrap_or_default(),
                metric: text("metric", row).unwrap_or_default(),
                value: number("value", row),
                error: text("error", row),
                class: class.filter(|class| class.is_valid(row)).map(|class| class.value(row)),
                probability: number("probability", row),
                layer: text("layer", row),
                seconds: number("seconds", row),
                seed: seed.map(|seed| seed.value(row)).unwrap_or_default(),
                protocol: text(PROTOCOL, row).unwrap_or_default(),
                version: text("version", row).unwrap_or_default(),
                curve: curve.map(|(fraction, score)| Curve { fraction, score }),
            });
        }
        Ok(())
    })?;
    Ok((rows, read.metadata().clone().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    /// The names, types and whether they may be null, as the table in `docs/runs.md` has them.
    #[test]
    fn the_columns_are_those_that_are_documented() {
        let page = include_str!("../../../docs/runs.md");
        let lines = page.lines().skip_while(|line| !line.starts_with("| column |")).skip(2);
        let documented: Vec<[String; 3]> = lines
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                [cells[1].trim_matches('`').into(), cells[2].into(), cells[3].into()]
            })
            .collect();
        let own: Vec<[String; 3]> = schema()
            .fields()
            .iter()
            .map(|field| {
                let kind = match field.data_type() {
                    DataType::Utf8 => "string",
                    DataType::Float64 => "double",
                    DataType::UInt32 => "uint32",
                    DataType::UInt64 => "uint64",
                    DataType::List(item) if *item.data_type() == DataType::Float64 => "list of double",
                    other => panic!("{other} is not documented"),
                };
                [field.name().clone(), kind.into(), if field.is_nullable() { "yes" } else { "no" }.into()]
            })
            .collect();
        assert_eq!(own, documented);
    }

    #[test]
    fn runs_of_before_the_protocol_was_a_column_are_read() {
        let row = Row {
            image: "a".into(),
            method: "b".into(),
            metric: "c".into(),
            value: Some(0.5),
            error: None,
            class: Some(3),
            probability: None,
            layer: None,
            seconds: None,
            seed: 9,
            protocol: "thesis".into(),
            version: "0.1.0".into(),
            curve: None,
        };
        let manifest = Manifest { seed: 9, version: "0.1.0".into(), protocol: "thesis".into(), ..Manifest::default() };
        let bytes = encode(&manifest.digest(), std::slice::from_ref(&row)).unwrap();
        assert_eq!(decode("new", &bytes.clone().into(), &manifest).unwrap(), std::slice::from_ref(&row));
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap().build().unwrap();
        let mut batch = reader.next().unwrap().unwrap();
        batch.remove_column(batch.schema().index_of(PROTOCOL).unwrap());
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let old = writer.into_inner().unwrap();
        assert_eq!(decode("old", &old.into(), &manifest).unwrap(), [Row { protocol: String::new(), ..row }]);
    }
}
