use crate::columns::{decode, encode};
use crate::{Manifest, Row, Shard, digest};
use faithful_core::{Error, Result, write_atomic};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const PARTS: &str = "parts";

/// A run's folder: the manifest, the parts of a run under way, and each finished shard's rows in one file.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
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
        if folder.join(MANIFEST).exists() {
            let reason = format!("{} holds a run already; resume it or name another folder", folder.display());
            return Err(Error::parameter("out", reason));
        }
        Self::prepare(folder, manifest)
    }

    /// Goes on with the run in `folder`, or starts it where there is none yet; shards of one run do so side by side.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the run was started with other methods, metrics, images, model, seed or version.
    pub fn resume(folder: &Path, manifest: &Manifest) -> Result<Self> {
        if folder.join(MANIFEST).exists() {
            let differences = manifest.differences(&Manifest::read(&folder.join(MANIFEST))?);
            if !differences.is_empty() {
                let reason = format!("{} was started otherwise: {}", folder.display(), differences.join("; "));
                return Err(Error::parameter("resume", reason));
            }
        }
        Self::prepare(folder, manifest)
    }

    /// The run in `folder`, to read.
    ///
    /// # Errors
    /// [`Error::Io`] where there is none.
    pub fn open(folder: &Path) -> Result<(Self, Manifest)> {
        let manifest = Manifest::read(&folder.join(MANIFEST))?;
        Ok((Self { folder: folder.to_owned() }, manifest))
    }

    fn prepare(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let parts = folder.join(PARTS);
        fs::create_dir_all(&parts).map_err(|source| Error::Io { path: parts.display().to_string(), source })?;
        write_atomic(&folder.join(MANIFEST), manifest.to_json().as_bytes())?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps the rows of one image and method, which come together.
    pub fn add(&self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let name = format!("{:016x}.parquet", digest([first.image.as_str(), first.method.as_str()]));
        write_atomic(&self.folder.join(PARTS).join(name), &encode(rows)?)
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
            match decode(&file) {
                Ok(found) => rows.extend(found.into_iter().map(|row| {
                    let (image, method, metric) = row.key();
                    ((image.to_owned(), method.to_owned(), metric.to_owned()), row)
                })),
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => damaged.push((file, error.to_string())),
            }
        }
        Ok(Some(Rows { rows: rows.into_values().collect(), damaged }))
    }

    /// Gathers what `shard` did into one file and removes its parts. Killed in between, nothing is lost: rows that are
    /// in both places are read once.
    pub fn gather(&self, shard: Shard, images: &[String]) -> Result<()> {
        let mine = |row: &Row| images.iter().position(|name| *name == row.image).is_some_and(|i| shard.has(i));
        let rows: Vec<Row> = self.rows()?.rows.into_iter().filter(mine).collect();
        let name = format!("rows-{}-of-{}.parquet", shard.index + 1, shard.count);
        write_atomic(&self.folder.join(name), &encode(&rows)?)?;
        for row in &rows {
            let part = format!("{:016x}.parquet", digest([row.image.as_str(), row.method.as_str()]));
            // It may be gone already: a part holds the rows of all metrics.
            let _ = fs::remove_file(self.folder.join(PARTS).join(part));
        }
        Ok(())
    }

    /// The Parquet files, the parts first: what is gathered meanwhile then shows up in the second listing. Temporary
    /// files of a killed process are not among them.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = list(&self.folder.join(PARTS))?;
        files.extend(list(&self.folder)?);
        Ok(files)
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { path: folder.display().to_string(), source }),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Curve;

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
        assert_eq!(list(&folder.path().join(PARTS)).unwrap().len(), 1, "b belongs to the other shard");
        store.gather(Shard { index: 1, count: 2 }, &images).unwrap();
        assert_eq!(store.rows().unwrap().rows, before);
        assert_eq!(list(&folder.path().join(PARTS)).unwrap().len(), 0);
    }

    #[test]
    fn a_damaged_part_is_named_and_a_temporary_file_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &manifest(1)).unwrap();
        store.add(&[row("a", "grad-cam", "insertion", Some(0.5))]).unwrap();
        let part = list(&folder.path().join(PARTS)).unwrap().remove(0);
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
}
