use crate::columns::{decode, encode};
use crate::place::Place;
use crate::{Manifest, Row, Shard, digest};
use bytes::Bytes;
use faithful_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const PARTS: &str = "parts";
const ROWS: &str = ".parquet";

/// A run's place: the manifest, the parts of a run under way, and each finished shard's rows in one file.
///
/// It is a folder or, with the feature `s3`, `s3://BUCKET/PREFIX` in any S3-compatible store, which the usual `AWS_*`
/// variables describe; `http://` is allowed on loopback and with `AWS_ALLOW_HTTP=true`.
#[derive(Clone, Debug)]
pub struct Store {
    place: Place,
}

/// What a run's folder holds.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The rows, ordered by image, method and metric.
    pub rows: Vec<Row>,
    /// Files that could not be read, with the reason. Their rows are missing and are done again by a resumed run.
    pub damaged: Vec<(PathBuf, String)>,
}

impl Store {
    /// Starts a run in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is a run already: resume it, or name another folder.
    pub fn create(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let place = Place::of(folder)?;
        if place.read(MANIFEST)?.is_some() {
            let reason = format!("{} holds a run already; resume it or name another folder", folder.display());
            return Err(Error::parameter("out", reason));
        }
        Self::prepare(place, manifest)
    }

    /// Goes on with the run in `folder`, or starts it where there is none yet; shards of one run do so side by side.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the run was started with other methods, metrics, images, model, seed or version.
    pub fn resume(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let place = Place::of(folder)?;
        if let Some(earlier) = place.read(MANIFEST)? {
            let differences = manifest.differences(&Manifest::parse(&place.label(MANIFEST), &earlier)?);
            if !differences.is_empty() {
                let reason = format!("{} was started otherwise: {}", folder.display(), differences.join("; "));
                return Err(Error::parameter("resume", reason));
            }
        }
        Self::prepare(place, manifest)
    }

    /// The run in `folder`, to read.
    ///
    /// # Errors
    /// [`Error::Io`] where there is none.
    pub fn open(folder: &Path) -> Result<(Self, Manifest)> {
        let place = Place::of(folder)?;
        let absent = || {
            let reason = "there is no such file; the folder of an evaluation run has one";
            Error::Io { path: place.label(MANIFEST), source: std::io::Error::new(std::io::ErrorKind::NotFound, reason) }
        };
        let manifest = Manifest::parse(&place.label(MANIFEST), &place.read(MANIFEST)?.ok_or_else(absent)?)?;
        Ok((Self { place }, manifest))
    }

    fn prepare(place: Place, manifest: &Manifest) -> Result<Self> {
        place.prepare(PARTS)?;
        place.write(MANIFEST, manifest.to_json().as_bytes())?;
        Ok(Self { place })
    }

    /// The bytes of a file that is kept beside the manifest; none where there is no such file.
    pub fn note(&self, name: &str) -> Result<Option<Bytes>> {
        self.place.read(name)
    }

    /// Keeps a file beside the manifest.
    pub fn keep_note(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.place.write(name, bytes)
    }

    /// A file's name for people.
    pub fn label(&self, name: &str) -> String {
        self.place.label(name)
    }

    /// Keeps the rows of one image and method, which come together.
    pub fn add(&self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        self.place.write(&part(first), &encode(rows)?)
    }

    /// Every row that is finished, each key once.
    pub fn rows(&self) -> Result<Rows> {
        loop {
            if let Some(rows) = self.try_rows()? {
                return Ok(rows);
            }
            // Another shard gathered its parts between the listing and the reading: they are elsewhere now.
        }
    }

    fn try_rows(&self) -> Result<Option<Rows>> {
        let mut damaged = Vec::new();
        let mut rows: BTreeMap<(String, String, String), Row> = BTreeMap::new();
        for file in self.files()? {
            let name = self.place.label(&file);
            let bytes = match self.place.read(&file) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(None),
                // One bad sector does not hide the other files. A store that does not answer would hide them all.
                Err(error) if self.place.is_folder() => {
                    damaged.push((name.into(), error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match decode(&name, &bytes) {
                Ok(found) => rows.extend(found.into_iter().map(|row| {
                    let (image, method, metric) = row.key();
                    ((image.to_owned(), method.to_owned(), metric.to_owned()), row)
                })),
                Err(error) => damaged.push((name.into(), error.to_string())),
            }
        }
        Ok(Some(Rows { rows: rows.into_values().collect(), damaged }))
    }

    /// Gathers what `shard` did into one file and removes its parts. Killed in between, nothing is lost: rows that are
    /// in both places are read once.
    pub fn gather(&self, shard: Shard, images: &[String]) -> Result<()> {
        let mine = |row: &Row| images.iter().position(|name| *name == row.image).is_some_and(|i| shard.has(i));
        let rows: Vec<Row> = self.rows()?.rows.into_iter().filter(mine).collect();
        let name = format!("rows-{}-of-{}{ROWS}", shard.index + 1, shard.count);
        self.place.write(&name, &encode(&rows)?)?;
        let parts: std::collections::BTreeSet<String> = rows.iter().map(part).collect();
        parts.iter().try_for_each(|part| self.place.remove(part))
    }

    /// The Parquet files, the parts first: what is gathered meanwhile then shows up in the second listing.
    fn files(&self) -> Result<Vec<String>> {
        let mut files = self.place.list(PARTS, ROWS)?;
        files.extend(self.place.list("", ROWS)?);
        Ok(files)
    }
}

/// The file of a row's image and method.
fn part(row: &Row) -> String {
    format!("{PARTS}/{:016x}{ROWS}", digest([row.image.as_str(), row.method.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Curve;
    use std::fs;

    fn manifest(seed: u64) -> Manifest {
        Manifest {
            version: "0.1.0".into(),
            model: "tiny".into(),
            images: "0".into(),
            image_count: 2,
            methods: vec!["grad-cam".into()],
            metrics: vec!["insertion".into()],
            protocol: "thesis".into(),
            layer: "auto".into(),
            class: "predicted".into(),
            seed,
        }
    }

    fn row(image: &str, method: &str, metric: &str, value: Option<f64>) -> Row {
        Row {
            image: image.into(),
            method: method.into(),
            metric: metric.into(),
            value,
            error: value.is_none().then(|| "it is truncated".into()),
            class: Some(7),
            probability: Some(0.1 + 0.2),
            layer: None,
            seconds: Some(0.5),
            seed: u64::MAX,
            protocol: "thesis".into(),
            version: "0.1.0".into(),
            curve: value.map(|value| Curve { fraction: vec![0.0, 1.0], score: vec![value, 1.0 / 3.0] }),
        }
    }

    #[test]
    fn rows_come_back_as_they_were_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run"), &manifest(1)).unwrap();
        let rows = [row("b", "grad-cam", "insertion", Some(0.25)), row("b", "grad-cam", "deletion", Some(0.1))];
        store.add(&rows).unwrap();
        store.add(&rows).unwrap();
        store.add(&[row("a", "", "", None)]).unwrap();
        let found = store.rows().unwrap();
        assert!(found.damaged.is_empty());
        assert_eq!(found.rows, [row("a", "", "", None), rows[1].clone(), rows[0].clone()]);
    }

    #[test]
    fn gathering_changes_no_row_and_shards_do_not_touch_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        let images: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        for image in &images {
            store.add(&[row(image, "grad-cam", "insertion", Some(0.5))]).unwrap();
        }
        let before = store.rows().unwrap().rows;
        store.gather(Shard { index: 0, count: 2 }, &images).unwrap();
        assert_eq!(store.rows().unwrap().rows, before);
        assert_eq!(store.place.list(PARTS, ROWS).unwrap().len(), 1, "b belongs to the other shard");
        store.gather(Shard { index: 1, count: 2 }, &images).unwrap();
        assert_eq!(store.rows().unwrap().rows, before);
        assert_eq!(store.place.list(PARTS, ROWS).unwrap().len(), 0);
    }

    #[test]
    fn a_damaged_part_is_named_and_a_temporary_file_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        store.add(&[row("a", "grad-cam", "insertion", Some(0.5))]).unwrap();
        let part = folder.path().join(store.place.list(PARTS, ROWS).unwrap().remove(0));
        let whole = fs::read(&part).unwrap();
        fs::write(&part, &whole[..whole.len() / 2]).unwrap();
        fs::write(folder.path().join(PARTS).join(".x.parquet.1-0.part"), b"half").unwrap();
        let found = store.rows().unwrap();
        assert_eq!((found.rows.len(), found.damaged.len()), (0, 1));
    }

    #[test]
    fn another_run_is_not_overwritten_and_a_different_one_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        Store::create(folder.path(), &manifest(1)).unwrap();
        assert!(Store::create(folder.path(), &manifest(1)).unwrap_err().to_string().contains("resume"));
        assert!(Store::resume(folder.path(), &manifest(1)).is_ok());
        let error = Store::resume(folder.path(), &manifest(2)).unwrap_err().to_string();
        assert!(error.contains("seed is 2 now and was 1"), "{error}");
    }

    /// A flipped bit makes a place or a length negative, at which the library panics.
    #[test]
    fn a_flipped_bit_is_damage_or_another_row() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        store.add(&[row("a.png", "grad-cam", "drop", Some(0.5))]).unwrap();
        let part = fs::read_dir(folder.path().join(PARTS)).unwrap().next().unwrap().unwrap().path();
        let bytes = fs::read(&part).unwrap();
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            fs::write(&part, bytes).unwrap();
            let rows = store.rows().unwrap();
            assert!(rows.rows.len() + rows.damaged.len() <= 2, "byte {place}");
        }
    }
}
