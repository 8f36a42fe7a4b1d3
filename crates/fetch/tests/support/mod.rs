//! A server on loopback that does what servers do.

// The tests of two crates share it, and neither needs all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// As it should be.
    Whole,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// So many bytes of the body, then nothing, while the connection stays.
    Stall(usize),
    /// A few bytes at a time.
    Trickle,
    /// All of it, whatever range was asked for.
    NoRange,
    /// The bytes that were not asked for.
    WrongRange,
    /// Without a length; the connection stays and the end never comes.
    Endless,
    /// With one byte another.
    Corrupt,
    /// This status, with a `Retry-After` where one is given.
    Status(u16, Option<&'static str>),
    /// To the same file under this prefix.
    Redirect(&'static str),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) target: String,
    headers: BTreeMap<String, String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// By the end of the target.
    files: BTreeMap<String, Vec<u8>>,
    steps: Mutex<Vec<Step>>,
    tag: Mutex<&'static str>,
    asked: Mutex<Vec<Asked>>,
    closing: AtomicBool,
}

impl Server {
    /// Serves `files`; the requests for the first of them are answered by `steps` in turn, later ones and others as they
    /// should be.
    pub(crate) fn new(files: &[(&str, &[u8])], steps: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            files: files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect(),
            steps: Mutex::new(steps.iter().rev().cloned().collect()),
            tag: Mutex::new("\"one\""),
            asked: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let (first, inside) = (files[0].0.to_owned(), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if inside.closing.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), inside, first) = (stream, Arc::clone(&inside), first.clone()) else { continue };
                // A client that goes away is no failure of the server.
                thread::spawn(move || drop(answer(stream, &inside, &first)));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, the files are another version.
    pub(crate) fn change_tag(&self) {
        *lock(&self.shared.tag) = "\"two\"";
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How often a file whose address ends like this was asked for.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.asked().iter().filter(|asked| asked.target.ends_with(name)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads the head of a request.
pub(crate) fn head(stream: &mut TcpStream) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&bytes).is_ok_and(|status| status.is_complete()) {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers = request.headers.iter().map(|header| (header.name.to_lowercase(), text(header.value)));
            return Ok(Asked { target: request.path.unwrap_or_default().to_owned(), headers: headers.collect() });
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared, first: &str) -> std::io::Result<()> {
    let asked = head(&mut stream)?;
    let target = asked.target.clone();
    let range = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let if_range = asked.header("if-range").map(str::to_owned);
    lock(&shared.asked).push(asked);
    let Some((name, bytes)) = shared.files.iter().find(|(name, _)| target.ends_with(name.as_str())) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let step = if name == first { lock(&shared.steps).pop() } else { None }.unwrap_or(Step::Whole);
    let tag = *lock(&shared.tag);
    let mut start: usize = range.filter(|_| if_range.is_none_or(|if_range| if_range == tag)).unwrap_or(0);
    match step {
        Step::Status(status, after) => {
            let after = after.map_or_else(String::new, |after| format!("Retry-After: {after}\r\n"));
            return write!(stream, "HTTP/1.1 {status} Word\r\n{after}Content-Length: 0\r\nConnection: close\r\n\r\n");
        }
        Step::Redirect(prefix) => {
            let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n";
            return write!(stream, "{head}Location: {prefix}/{name}\r\n\r\n");
        }
        Step::NoRange => start = 0,
        Step::WrongRange => start += 1,
        _ => {}
    }
    let total = bytes.len();
    if start >= total && total > 0 {
        let head = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n";
        return write!(stream, "{head}Content-Range: bytes */{total}\r\n\r\n");
    }
    let mut body = bytes[start..].to_vec();
    if start > 0 {
        write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n", total - 1)?;
    } else {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
    }
    write!(stream, "ETag: {tag}\r\nConnection: close\r\n")?;
    if let Step::Endless = step {
        write!(stream, "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len())?;
        stream.write_all(&body)?;
        wait(&shared.closing);
        return Ok(());
    }
    write!(stream, "Content-Length: {}\r\n\r\n", body.len())?;
    match step {
        Step::Cut(count) => stream.write_all(&body[..count.min(body.len())]),
        Step::Stall(count) => {
            stream.write_all(&body[..count.min(body.len())])?;
            stream.flush()?;
            wait(&shared.closing);
            Ok(())
        }
        Step::Trickle => {
            for chunk in body.chunks(16) {
                stream.write_all(chunk)?;
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        Step::Corrupt => {
            body[0] ^= 1;
            stream.write_all(&body)
        }
        _ => stream.write_all(&body),
    }
}

/// Until the server ends.
fn wait(closing: &AtomicBool) {
    while !closing.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
    }
}
