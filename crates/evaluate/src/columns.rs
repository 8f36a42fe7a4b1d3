use crate::{Curve, Manifest, Row};
use bytes::Bytes;
use faithful_core::{Digest, Error, Result};
use faithful_parquet::{About, Cells, Field, Kind, Writer};

const PROTOCOL: &str = "protocol";

/// The file's metadata that say of which run its rows are, and what they are.
const RUN: &str = "faithful.run";
const DIGEST: &str = "faithful.digest";

/// The columns, as `docs/runs.md` describes them.
fn fields() -> Vec<Field> {
    let columns = [
        ("image", Kind::Text, false),
        ("method", Kind::Text, false),
        ("metric", Kind::Text, false),
        ("value", Kind::Double, true),
        ("error", Kind::Text, true),
        ("class", Kind::Unsigned32, true),
        ("probability", Kind::Double, true),
        ("layer", Kind::Text, true),
        ("seconds", Kind::Double, true),
        ("seed", Kind::Unsigned64, false),
        (PROTOCOL, Kind::Text, false),
        ("version", Kind::Text, false),
        ("curve_fraction", Kind::Doubles, true),
        ("curve_score", Kind::Doubles, true),
    ];
    columns.map(|(name, kind, nullable)| Field::new(name, kind, nullable)).to_vec()
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
        |pick: fn(&Row) -> Option<&str>| Cells::Texts(rows.iter().map(|row| pick(row).map(str::to_owned)).collect());
    let numbers = |pick: fn(&Row) -> Option<f64>| Cells::Numbers(rows.iter().map(pick).collect());
    let points = |pick: fn(&Curve) -> &[f64]| {
        Cells::Lists(rows.iter().map(|row| row.curve.as_ref().map(|curve| pick(curve).to_vec())).collect())
    };
    let columns = [
        texts(|row| Some(&row.image)),
        texts(|row| Some(&row.method)),
        texts(|row| Some(&row.metric)),
        numbers(|row| row.value),
        texts(|row| row.error.as_deref()),
        Cells::Whole(rows.iter().map(|row| row.class.map(u64::from)).collect()),
        numbers(|row| row.probability),
        texts(|row| row.layer.as_deref()),
        numbers(|row| row.seconds),
        Cells::Whole(rows.iter().map(|row| Some(row.seed)).collect()),
        texts(|row| Some(&row.protocol)),
        texts(|row| Some(&row.version)),
        points(|curve| &curve.fraction),
        points(|curve| &curve.score),
    ];
    let about = [(RUN, run.to_owned()), (DIGEST, digest_of(rows))];
    let mut writer = Writer::new(Vec::new(), fields(), &about)?;
    writer.write(&columns)?;
    writer.finish()
}

/// The rows of the Parquet file of that name, which is of the run of `manifest`.
///
/// # Errors
/// [`Error::Format`] where it is damaged, of another kind or of another run.
pub(crate) fn decode(name: &str, bytes: &Bytes, manifest: &Manifest) -> Result<Vec<Row>> {
    let (rows, about) = read(name, bytes)?;
    let broken = |reason: String| Err(Error::format(name, reason));
    let said = |key: &str| about.metadata.get(key).map(String::as_str);
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

/// The rows of a Parquet file, and what it says of itself.
fn read(name: &str, bytes: &Bytes) -> Result<(Vec<Row>, About)> {
    let mut parts = Vec::new();
    let about = faithful_parquet::read(name, bytes, |part| {
        parts.push(part);
        Ok(())
    })?;
    let wanted = fields();
    // Runs of version 0.1 before rows said their protocol.
    let before = wanted.iter().filter(|field| field.name != PROTOCOL);
    if *about.fields != *wanted && !about.fields.iter().eq(before) {
        return Err(Error::format(name, "its columns are not those of an evaluation run"));
    }
    let mut rows = Vec::new();
    for part in &parts {
        let cells = |column: &str| Some(&part.columns[about.fields.iter().position(|field| field.name == column)?]);
        let text = |column: &str, row: usize| match cells(column) {
            Some(Cells::Texts(cells)) => cells[row].clone(),
            _ => None,
        };
        let number = |column: &str, row: usize| match cells(column) {
            Some(Cells::Numbers(cells)) => cells[row],
            _ => None,
        };
        let whole = |column: &str, row: usize| match cells(column) {
            Some(Cells::Whole(cells)) => cells[row],
            _ => None,
        };
        let points = |column: &str, row: usize| match cells(column) {
            Some(Cells::Lists(cells)) => cells[row].clone(),
            _ => None,
        };
        for row in 0..part.count {
            let curve = points("curve_fraction", row).zip(points("curve_score", row));
            rows.push(Row {
                image: text("image", row).unwrap_or_default(),
                method: text("method", row).unwrap_or_default(),
                metric: text("metric", row).unwrap_or_default(),
                value: number("value", row),
                error: text("error", row),
                class: whole("class", row).map(|class| class as u32),
                probability: number("probability", row),
                layer: text("layer", row),
                seconds: number("seconds", row),
                seed: whole("seed", row).unwrap_or_default(),
                protocol: text(PROTOCOL, row).unwrap_or_default(),
                version: text("version", row).unwrap_or_default(),
                curve: curve.map(|(fraction, score)| Curve { fraction, score }),
            });
        }
    }
    Ok((rows, about))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let kind = |field: &Field| match field.kind {
            Kind::Text => "string",
            Kind::Double => "double",
            Kind::Unsigned32 => "uint32",
            Kind::Unsigned64 => "uint64",
            Kind::Doubles => "list of double",
            other => panic!("{other:?} is not documented"),
        };
        let own: Vec<[String; 3]> = fields()
            .iter()
            .map(|field| [field.name.clone(), kind(field).into(), if field.nullable { "yes" } else { "no" }.into()])
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
        let mut parts = Vec::new();
        faithful_parquet::read("new", &bytes.into(), |part| {
            parts.push(part);
            Ok(())
        })
        .unwrap();
        let place = fields().iter().position(|field| field.name == PROTOCOL).unwrap();
        let (mut columns, mut before) = (parts.remove(0).columns, fields());
        columns.remove(place);
        before.remove(place);
        let mut writer = Writer::new(Vec::new(), before, &[]).unwrap();
        writer.write(&columns).unwrap();
        let old = writer.finish().unwrap();
        assert_eq!(decode("old", &old.into(), &manifest).unwrap(), [Row { protocol: String::new(), ..row }]);
    }
}
