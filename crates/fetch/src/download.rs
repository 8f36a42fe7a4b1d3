use crate::client::{Client, Reply};
use crate::error::{Error, at};
use crate::event::Event;
use crate::settings::Patience;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As much progress as makes the count of failures start anew.
const PROGRESS: u64 = 1 << 20;
/// New tries where there is no way to a host.
const UNREACHED: u32 = 1;
/// No published file is as long; a longer one is a mistake, and would fill the disk.
const LONGEST: u64 = 1 << 34;

/// A file that grows, and what is known of the one it becomes.
pub(crate) struct Part {
    path: PathBuf,
}

/// What is kept beside a part, so that another process goes on with it.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Note {
    validator: Option<String>,
    total: Option<u64>,
}

/// Why a download ended early.
pub(crate) enum DownloadError {
    /// This machine's fault: another source would not help.
    Local(Error),
    /// The source's fault.
    Remote(String),
}

impl From<Error> for DownloadError {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// Why one request did not bring the whole file.
enum Miss {
    Again {
        reason: String,
        pause: Option<Duration>,
        gained: u64,
    },
    /// There was no way to the host at all.
    Unreached(String),
    Final(DownloadError),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::Final(DownloadError::Local(error))
    }
}

impl Part {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes are there.
    pub(crate) fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Forgets what is there.
    pub(crate) fn discard(&self) -> Result<(), Error> {
        for path in [self.path.clone(), self.note_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn note_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    /// An unreadable note is none: the digest will tell whether the bytes were of the same file.
    fn note(&self) -> Note {
        fs::read(self.note_path()).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write_note(&self, note: &Note) -> Result<(), Error> {
        let path = self.note_path();
        let text = serde_json::to_vec(note).map_err(|error| at(&path)(error.into()))?;
        fs::write(&path, text).map_err(at(&path))
    }

    /// Gets all of `url`, going on behind what is there, with new tries after growing pauses. Returns when the file is
    /// complete and on the disk; whether it is the right one is for its digest to say.
    pub(crate) fn fill(
        &self,
        client: &Client,
        url: &str,
        bytes: Option<u64>,
        patience: &Patience,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), DownloadError> {
        let (mut failures, mut pause) = (0, patience.pause);
        loop {
            match self.ask_once(client, url, bytes, patience, report) {
                Ok(()) => return Ok(()),
                Err(Miss::Final(trouble)) => return Err(trouble),
                Err(Miss::Unreached(reason)) => {
                    // Without a network, more tries only keep people waiting.
                    failures += 1;
                    if failures > patience.tries.min(UNREACHED) {
                        return Err(DownloadError::Remote(format!("{url}: {reason}")));
                    }
                    report(Event::Again { reason: &reason, pause });
                    std::thread::sleep(pause);
                }
                Err(Miss::Again { reason, pause: asked, gained }) => {
                    if gained >= PROGRESS {
                        (failures, pause) = (0, patience.pause);
                    }
                    failures += 1;
                    if failures > patience.tries {
                        return Err(DownloadError::Remote(format!("{url}: {reason}, {failures} times")));
                    }
                    let wait = asked.unwrap_or(pause);
                    if wait > patience.longest {
                        let seconds = wait.as_secs();
                        return Err(DownloadError::Remote(format!("{url}: {reason}; it asks to wait {seconds} s")));
                    }
                    report(Event::Again { reason: &reason, pause: wait });
                    std::thread::sleep(wait);
                    pause = (pause * 2).min(patience.longest);
                }
            }
        }
    }

    fn ask_once(
        &self,
        client: &Client,
        url: &str,
        bytes: Option<u64>,
        patience: &Patience,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), Miss> {
        let disk = at(&self.path);
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.path).map_err(&disk)?;
        let have = file.seek(SeekFrom::End(0)).map_err(&disk)?;
        let note = self.note();
        let again = |reason: String, gained| Miss::Again { reason, pause: None, gained };
        let there = |reason: String| Miss::Final(DownloadError::Remote(format!("{url}: {reason}")));
        let reply = match client.ask(url, have, note.validator.as_deref()) {
            Ok(reply) => reply,
            Err(error) if is_lasting(&error) => return Err(there(words(&error))),
            Err(error) if is_unreached(&error) => return Err(Miss::Unreached(words(&error))),
            Err(error) => return Err(again(words(&error), 0)),
        };
        match reply {
            Reply::Refused { reason, again: true, pause } => Err(Miss::Again { reason, pause, gained: 0 }),
            Reply::Refused { reason, .. } => {
                // A part that its server no longer continues is of no use.
                if have > 0 && reason.contains("range") {
                    file.set_len(0).map_err(&disk)?;
                    return Err(again(reason, 0));
                }
                Err(there(reason))
            }
            Reply::Nothing(total) if total == Some(have) && have > 0 => finish(&file, &self.path).map_err(Miss::from),
            Reply::Nothing(_) => {
                file.set_len(0).map_err(&disk)?;
                Err(again("what was here is not a part of the file".into(), 0))
            }
            Reply::Body { start, total, validator, mut body } => {
                if total.zip(bytes).is_some_and(|(total, bytes)| total != bytes) {
                    let (got, known) = (total.unwrap_or_default(), bytes.unwrap_or_default());
                    return Err(there(format!("it has {got} bytes, and the file that is wanted has {known}")));
                }
                if start == 0 && have > 0 {
                    file.set_len(0).map_err(&disk)?;
                }
                file.seek(SeekFrom::Start(start)).map_err(&disk)?;
                if start == 0 {
                    self.write_note(&Note { validator, total })?;
                }
                report(Event::Started { from: start, total });
                let gained = copy(&mut body, &mut file, &self.path, start, patience, report)?;
                let length = start + gained;
                match total {
                    Some(total) if length < total => {
                        Err(again(format!("the connection ended after {length} of {total} bytes"), gained))
                    }
                    _ => finish(&file, &self.path).map_err(Miss::from),
                }
            }
        }
    }
}

/// Copies `body` to the end of `file`, which had `start` bytes; returns how many there were.
fn copy(
    body: &mut dyn Read,
    file: &mut File,
    path: &Path,
    start: u64,
    patience: &Patience,
    report: &mut dyn FnMut(Event),
) -> Result<u64, Miss> {
    let mut chunk = vec![0; 1 << 16];
    let mut gained = 0;
    let (mut since, mut before) = (Instant::now(), 0);
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => return Ok(gained),
            Ok(count) => count,
            Err(error) => return Err(Miss::Again { reason: in_body(&error), pause: None, gained }),
        };
        file.write_all(&chunk[..count]).map_err(at(path))?;
        gained += count as u64;
        report(Event::Received(start + gained));
        if start + gained > LONGEST {
            return Err(Miss::Final(DownloadError::Remote(format!("it sends more than {LONGEST} bytes"))));
        }
        let span = since.elapsed();
        if span >= patience.span {
            if ((gained - before) as f64) < Patience::SLOWEST * span.as_secs_f64() {
                let reason = format!("it sent {} bytes in {} s", gained - before, span.as_secs());
                return Err(Miss::Again { reason, pause: None, gained });
            }
            (since, before) = (Instant::now(), gained);
        }
    }
}

fn finish(file: &File, path: &Path) -> Result<(), Error> {
    // Some file systems report a full disk only here.
    file.sync_all().map_err(at(path))
}

/// Whether another try would end the same way.
fn is_lasting(error: &ureq::Error) -> bool {
    use ureq::Error;
    matches!(
        error,
        Error::BadUri(_)
            | Error::Http(_)
            | Error::InvalidProxyUrl
            | Error::RedirectFailed
            | Error::TooManyRedirects
            | Error::Tls(_)
            | Error::Pem(_)
            | Error::Rustls(_)
            | Error::TlsRequired
            | Error::RequireHttpsOnly(_)
            | Error::LargeResponseHeader(..)
    )
}

/// Whether the host was not found or takes no connection: there is no network, or not to there.
fn is_unreached(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    use ureq::{Error, Timeout};
    match error {
        Error::HostNotFound | Error::ConnectionFailed | Error::Timeout(Timeout::Connect | Timeout::Resolve) => true,
        // A name that cannot be looked up has no kind of its own.
        Error::Io(error) => {
            let kinds = [AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable];
            kinds.contains(&error.kind()) || error.to_string().contains("lookup address")
        }
        _ => false,
    }
}

fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => "the host is not found".into(),
        ureq::Error::Timeout(_) => "it does not answer in time".into(),
        ureq::Error::HostNotFound => "the host is not found".into(),
        other => other.to_string(),
    }
}

/// The client packs its own errors into the system's.
fn in_body(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        Some(ureq::Error::Timeout(_)) => "it stopped sending".into(),
        Some(inner) => words(inner),
        None => error.to_string(),
    }
}
