use crate::catalogue::{Address, Item, Kind, Source, item};
#[cfg(feature = "network")]
use crate::client::Client;
use crate::digest::{of_file, short};
#[cfg(feature = "network")]
use crate::download::{DownloadError, Part};
use crate::error::{Error, Result, at};
use crate::event::Event;
use crate::hub;
use crate::lock::FileLock;
use crate::record::{Entry, Record};
use crate::settings::Settings;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder where things are fetched to.
#[derive(Debug)]
pub struct Store {
    home: PathBuf,
    settings: Settings,
}

/// How far the bytes of a file are known to be the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// They have the SHA-256 that was asked for.
    Asked,
    /// They have the published SHA-256.
    Published,
    /// Their SHA-256 begins with the published digits, of which there are so many.
    Digits(usize),
    /// They have the SHA-256 that was written down when they were fetched first.
    Recorded,
    /// No digest is published; theirs is written down.
    First,
}

/// A file that was fetched or found.
#[derive(Debug)]
pub struct Fetched {
    /// Where it is. In a folder of downloads it is gone after [`accept`](Turn::accept).
    pub path: PathBuf,
    /// Where it is published.
    pub url: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// How far it can be trusted.
    pub trust: Trust,
    /// Whether it is ours to move.
    downloaded: bool,
}

/// The right to work at one item, which one process has at a time.
#[derive(Debug)]
pub struct Turn<'a> {
    store: &'a Store,
    item: &'static Item,
    _lock: FileLock,
}

impl Store {
    /// The store in the folder `home`, which is made when it is needed.
    pub fn new(home: PathBuf, settings: Settings) -> Self {
        Self { home, settings }
    }

    /// Whether the user asks for a digest, so that a file that is there already may not do.
    pub fn wants_digest(&self) -> bool {
        self.settings.sha256.is_some()
    }

    /// Waits until no other process works at `item`.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be written.
    pub fn turn(&self, item: &'static Item, report: &mut dyn FnMut(Event)) -> Result<Turn<'_>> {
        let folder = self.home.join("downloads");
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let lock = FileLock::wait(&folder.join(format!("{}.lock", item.name)), report)?;
        Ok(Turn { store: self, item, _lock: lock })
    }

    /// The files of other programs' caches that may be `source`.
    fn elsewhere(&self, source: &Source) -> Option<PathBuf> {
        match source.address {
            Address::Hub { repository, revision, file } => {
                let cache = self.settings.hub_cache.as_deref()?;
                Some(hub::place(cache, repository, revision, file))
            }
            Address::Torchvision(file) => Some(self.settings.torch_cache.as_deref()?.join(file)),
            Address::Url(_) => None,
        }
    }
}

/// Where the item `name`, if it is one that is kept as it is, lies in the folder `home` once it was fetched.
pub fn kept_file(home: &Path, name: &str) -> Option<PathBuf> {
    match item(name)?.kind {
        Kind::File(file) => Some(home.join("data").join(file)),
        Kind::Weights => None,
    }
}

impl Turn<'_> {
    /// The item's file: from a cache of another program, else from the first source that gives the right bytes.
    ///
    /// What a try that was cut off has left is gone on with. The caller looks into the file, and says what it thinks of
    /// it by [`accept`](Self::accept) or [`reject`](Self::reject).
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Unreachable`] with what every source said, [`Error::Full`] and [`Error::Io`].
    pub fn fetch(&self, report: &mut dyn FnMut(Event)) -> Result<Fetched> {
        let record = self.record()?;
        let (mut tried, mut searched) = (Vec::new(), Vec::new());
        for source in self.item.sources {
            let Some(path) = self.store.elsewhere(source) else { continue };
            if !path.is_file() {
                searched.push(path.display().to_string());
                continue;
            }
            report(Event::Found(&path.display().to_string()));
            report(Event::Checking);
            match self.judged(source, &record, path.clone(), false)? {
                Ok(found) => return Ok(found),
                Err(reason) => tried.push(format!("{}: {reason}", path.display())),
            }
        }
        if self.store.settings.offline {
            searched.insert(0, self.store.home.display().to_string());
            searched.extend(tried);
            return Err(Error::Offline { name: self.item.name.into(), searched });
        }
        self.ask_sources(&record, tried, report)
    }

    #[cfg(not(feature = "network"))]
    fn ask_sources(&self, _: &Record, mut tried: Vec<String>, _: &mut dyn FnMut(Event)) -> Result<Fetched> {
        tried.push("this program is built without the feature `network`".into());
        Err(Error::Unreachable { name: self.item.name.into(), tried })
    }

    #[cfg(feature = "network")]
    fn ask_sources(&self, record: &Record, mut tried: Vec<String>, report: &mut dyn FnMut(Event)) -> Result<Fetched> {
        let client = Client::new(&self.store.settings)?;
        for source in self.item.sources {
            match self.download(&client, source, record, report) {
                Ok(found) => return Ok(found),
                Err(DownloadError::Local(error)) => return Err(error),
                Err(DownloadError::Remote(reason)) => {
                    report(Event::Next(&reason));
                    tried.push(reason);
                }
            }
        }
        Err(Error::Unreachable { name: self.item.name.into(), tried })
    }

    #[cfg(feature = "network")]
    fn download(
        &self,
        client: &Client,
        source: &Source,
        record: &Record,
        report: &mut dyn FnMut(Event),
    ) -> std::result::Result<Fetched, DownloadError> {
        let settings = &self.store.settings;
        let url = settings.url(&source.address);
        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let path = folder.join(source.address.file_name());
        if path.is_file() {
            // A process was ended between fetching it and doing something with it.
            report(Event::Found(&path.display().to_string()));
            report(Event::Checking);
            match self.judged(source, record, path.clone(), true)? {
                Ok(found) => return Ok(self.shared(source, found)?),
                Err(_) => fs::remove_file(&path).map_err(at(&path))?,
            }
        }
        let part = Part::new(folder.join(format!("{}.part", short(&url))));
        // With a digest of one's own, the file may be another than the published one.
        let bytes = source.bytes.filter(|_| settings.sha256.is_none());
        report(Event::Asking(&url));
        let mut continued = part.length() > 0;
        loop {
            part.fill(client, &url, bytes, &settings.patience, report)?;
            report(Event::Checking);
            match self.judged(source, record, part.path().to_owned(), true)? {
                Ok(mut found) => {
                    fs::rename(part.path(), &path).map_err(at(&path))?;
                    found.path = path;
                    return Ok(self.shared(source, found)?);
                }
                Err(reason) => {
                    part.discard()?;
                    // Its beginning may have been of another version.
                    if std::mem::take(&mut continued) {
                        report(Event::Again { reason: &reason, pause: std::time::Duration::ZERO });
                        continue;
                    }
                    return Err(DownloadError::Remote(format!("{url}: {reason}")));
                }
            }
        }
    }

    /// Moves what came from the hub into its cache, where its user keeps one.
    fn shared(&self, source: &Source, found: Fetched) -> Result<Fetched> {
        let settings = &self.store.settings;
        let (Address::Hub { repository, revision, file }, Some(cache)) = (source.address, &settings.hub_cache) else {
            return Ok(found);
        };
        if !settings.share_with_hub || !hub::is_commit(revision) {
            return Ok(found);
        }
        let path = hub::keep(cache, repository, revision, file, &found.path, &found.sha256)?;
        Ok(Fetched { path, downloaded: false, ..found })
    }

    /// The file at `path`, or what speaks against its being `source`.
    fn judged(
        &self,
        source: &Source,
        record: &Record,
        path: PathBuf,
        downloaded: bool,
    ) -> Result<std::result::Result<Fetched, String>> {
        let (sha256, bytes) = of_file(&path)?;
        let url = Settings::default().url(&source.address);
        let known = source.sha256;
        let wrong = |expected: &str, whose: String| Err(format!("its SHA-256 is {sha256}, and {expected} {whose}"));
        let recorded = record.get(&url);
        let trust = match (&self.store.settings.sha256, recorded) {
            (Some(asked), _) if *asked == sha256 => Trust::Asked,
            (Some(asked), _) => return Ok(wrong(asked, "was asked for".into())),
            (None, _) if !sha256.starts_with(known) => return Ok(wrong(known, "begins the published one".into())),
            (None, _) if known.len() == sha256.len() => Trust::Published,
            (None, Some(entry)) if entry.sha256 == sha256 => Trust::Recorded,
            (None, Some(entry)) => {
                let file = record.path().display();
                let whose = format!("is what it was before ({file}); if it was published anew, --sha256 accepts it");
                return Ok(wrong(&entry.sha256, whose));
            }
            (None, None) if known.is_empty() => Trust::First,
            (None, None) => Trust::Digits(known.len()),
        };
        Ok(Ok(Fetched { path, url, sha256, bytes, trust, downloaded }))
    }

    /// Writes down the digest of a file that turned out to be what it should, and clears the downloads away. With a
    /// place `to`, the file is moved there.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Io`].
    pub fn accept(&self, fetched: &Fetched, to: Option<&Path>) -> Result<()> {
        if let Some(to) = to {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(at(folder))?;
            }
            if fetched.downloaded {
                hub::move_file(&fetched.path, to)?;
            } else {
                hub::copy_file(&fetched.path, to)?;
            }
        }
        let entry = Entry { sha256: fetched.sha256.clone(), bytes: fetched.bytes };
        self.record()?.put(&fetched.url, entry)?;
        self.clear()
    }

    /// Removes a file that turned out to be something else.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reject(&self, fetched: &Fetched) -> Result<()> {
        if fetched.downloaded {
            fs::remove_file(&fetched.path).map_err(at(&fetched.path))?;
        }
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        let folder = self.folder();
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(&folder)(error)),
            _ => Ok(()),
        }
    }

    fn folder(&self) -> PathBuf {
        self.store.home.join("downloads").join(self.item.name)
    }

    fn record(&self) -> Result<Record> {
        let folder = self.store.home.join("records");
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        Record::read(folder.join(format!("{}.json", self.item.name)))
    }
}
