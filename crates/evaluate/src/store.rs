use crate::columns::{decode, encode};
use crate::place::{Lock, Place};
use crate::{Manifest, Row, Shard};
use bytes::Bytes;
use faithful_core::{Digest, Error, Result};
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
    manifest: Manifest,
}

/// The right to work at a share of a run, which one process has at a time; it ends with the value or with the process.
#[derive(Debug)]
pub struct Working {
    _lock: Lock,
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
    /// Starts a run in `folder`, which is made where it is missing. Of several that start one there, one does.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is a run already: resume it, or name another folder.
    pub fn create(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let place = Place::of(folder)?;
        place.prepare(PARTS)?;
        if !place.create(MANIFEST, manifest.to_json().as_bytes())? {
            let reason = format!("{} holds a run already; resume it or name another folder", folder.display());
            return Err(Error::parameter("out", reason));
        }
        Ok(Self { place, manifest: manifest.clone() })
    }

    /// Goes on with the run in `folder`, or starts it where there is none yet; shards of one run do so side by side.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the run was started with another manifest, with what differs.
    pub fn resume(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let place = Place::of(folder)?;
        let mut earlier = place.read(MANIFEST)?;
        if earlier.is_none() {
            place.prepare(PARTS)?;
            // Another shard may have been faster.
            if !place.create(MANIFEST, manifest.to_json().as_bytes())? {
                earlier = place.read(MANIFEST)?;
            }
        }
        if let Some(earlier) = earlier {
            let differences = manifest.differences(&Manifest::parse(&place.label(MANIFEST), &earlier)?);
            if !differences.is_empty() {
                let reason = format!("{} was started otherwise: {}", folder.display(), differences.join("; "));
                return Err(Error::parameter("resume", reason));
            }
            place.prepare(PARTS)?;
        }
        Ok(Self { place, manifest: manifest.clone() })
    }

    /// The right to work at a share.
    ///
    /// # Errors
    /// [`Error::Parameter`] where another process has it.
    pub fn work(&self, shard: Shard) -> Result<Working> {
        let (share, all) = (shard.index + 1, shard.count);
        let lock = self.place.lock(&format!(".lock-{share}-of-{all}"))?;
        let busy = || {
            let place = self.place.label("");
            Error::parameter("out", format!("another process works at share {share} of {all} of the run in {place}"))
        };
        Ok(Working { _lock: lock.ok_or_else(busy)? })
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
        Ok((Self { place, manifest: manifest.clone() }, manifest))
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
        self.place.write(&part(first), &encode(&self.manifest.digest(), rows)?)
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
            match decode(&name, &bytes, &self.manifest) {
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
        self.place.write(&name, &encode(&self.manifest.digest(), &rows)?)?;
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
    let name = Digest::new().with(&row.image).with(&row.method).finish();
    format!("{PARTS}/{}{ROWS}", &name[..32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Curve;
    use std::fs;

    fn manifest(seed: u64) -> Manifest {
        Manifest {
            format: Manifest::FORMAT,
            version: "0.1.0".into(),
            model: "tiny".into(),
            images: "0".into(),
            image_count: 2,
            protocol: "thesis".into(),
            seed,
            ..Manifest::default()
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
            seed: 1,
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

    #[test]
    fn of_many_that_start_a_run_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let start = |seed| Store::create(folder.path(), &manifest(seed)).is_ok().then_some(seed);
        let started: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|seed| scope.spawn(move || start(seed))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(started.len(), 1, "{started:?}");
        assert_eq!(Store::open(folder.path()).unwrap().1.seed, started[0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the manifest and the parts' folder");
    }

    #[test]
    fn a_share_is_worked_at_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        let working = store.work(Shard::WHOLE).unwrap();
        let error = Store::resume(folder.path(), &manifest(1)).unwrap().work(Shard::WHOLE).unwrap_err().to_string();
        assert!(error.contains("another process works at share 1 of 1"), "{error}");
        assert!(store.work(Shard { index: 1, count: 2 }).is_ok());
        drop(working);
        assert!(store.work(Shard::WHOLE).is_ok());
    }

    #[test]
    fn rows_of_another_run_are_not_taken_for_this_ones() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        // The same seed and version in the rows, and another model in the manifest.
        let stranger = Store::create(other.path(), &Manifest { model: "large".into(), ..manifest(1) }).unwrap();
        stranger.add(&[row("a", "grad-cam", "insertion", Some(0.5))]).unwrap();
        let part = stranger.place.list(PARTS, ROWS).unwrap().remove(0);
        fs::copy(other.path().join(&part), folder.path().join(&part)).unwrap();
        let found = store.rows().unwrap();
        assert!(found.rows.is_empty() && found.damaged[0].1.contains("another run"), "{found:?}");
        store.add(&[Row { seed: 2, ..row("a", "grad-cam", "insertion", Some(0.5)) }]).unwrap();
        let found = store.rows().unwrap();
        assert!(found.rows.is_empty() && found.damaged[0].1.contains("seed 2"), "{found:?}");
    }

    /// A flipped bit makes a place or a length negative, at which the library panics; or a value another one.
    #[test]
    fn a_flipped_bit_is_damage_or_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        store.add(&[row("a.png", "grad-cam", "drop", Some(0.5))]).unwrap();
        let whole = store.rows().unwrap().rows;
        let part = fs::read_dir(folder.path().join(PARTS)).unwrap().next().unwrap().unwrap().path();
        let bytes = fs::read(&part).unwrap();
        let mut found_out = 0;
        for place in 0..bytes.len() {
            for change in [1 << (place % 8), 0x80 >> (place % 8)] {
                let mut bytes = bytes.clone();
                bytes[place] ^= change;
                fs::write(&part, bytes).unwrap();
                let rows = store.rows().unwrap();
                assert!(rows.rows == whole || rows.damaged.len() == 1, "byte {place} changed by {change}");
                found_out += rows.damaged.len();
            }
        }
        assert!(found_out > bytes.len() / 4, "{found_out}");
    }
}
