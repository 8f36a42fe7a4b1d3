//! As much of HTTP/1.1 as a browser needs to use one page: a request per connection, bodies of a length that is said.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of a request's head, and lines in it.
const HEAD: usize = 16 << 10;
const HEADERS: usize = 64;
/// Bytes that are read or written at a time.
const PIECE: usize = 64 << 10;

/// A request without its body.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// The path, without the query.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    /// What of the body came along with the head.
    rest: Vec<u8>,
}

impl Head {
    /// A header's value; nothing where it is absent or said twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next()?;
        if found.next().is_some() { None } else { Some(first.1.as_str()) }
    }

    fn says(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// Why a request is not answered as it wanted: a status and a sentence.
pub(crate) type Refusal = (u16, String);

pub(crate) fn refuse<T>(status: u16, reason: impl Into<String>) -> Result<T, Refusal> {
    Err((status, reason.into()))
}

/// A connection with a limit on the whole, not on each read and write: a byte a second does not hold it for ever.
pub(crate) struct Patient<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl<'a> Patient<'a> {
    pub(crate) fn new(stream: &'a TcpStream, until: Instant) -> Self {
        Self { stream, until }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        // A piece at a time: the system waits for all of a write before it looks at the time.
        stream.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a request up to its body.
pub(crate) fn read_head(stream: &TcpStream, until: Instant) -> Result<Head, Refusal> {
    let mut patient = Patient::new(stream, until);
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = match patient.read(&mut buffer) {
            Ok(0) | Err(_) => return refuse(408, "the request did not come to its end"),
            Ok(count) => count,
        };
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(head) = parse(&mut bytes)? {
            return Ok(head);
        }
    }
}

/// The head that `bytes` begin with, which takes what follows it along; `None` as long as its end is missing.
fn parse(bytes: &mut Vec<u8>) -> Result<Option<Head>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Err(_) => refuse(400, "this is no request that is understood here"),
        Ok(httparse::Status::Partial) if bytes.len() > HEAD => refuse(431, "the request's head is too long"),
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let target = request.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
            let head = Head {
                method: request.method.unwrap_or_default().to_owned(),
                path: path.to_owned(),
                query: fields(query),
                headers: request.headers.iter().map(|one| (one.name.to_owned(), text(one.value))).collect(),
                rest: Vec::new(),
            };
            Ok(Some(Head { rest: bytes.split_off(length), ..head }))
        }
    }
}

/// Whether `bytes` begin with a whole head that is understood. For the tests that send any bytes, without a socket.
pub fn head_is_understood(bytes: &[u8]) -> bool {
    parse(&mut bytes.to_vec()).is_ok_and(|head| head.is_some_and(|head| head.header("host").is_some()))
}

/// Reads the body that a head promises, if it is not longer than `most`. `room` is asked before bytes that arrive are kept.
pub(crate) fn read_body(
    stream: &TcpStream,
    head: &mut Head,
    most: usize,
    until: Instant,
    room: &mut dyn FnMut(usize) -> Result<(), Refusal>,
) -> Result<Vec<u8>, Refusal> {
    if head.says("transfer-encoding") {
        return refuse(411, "say how long the photo is");
    }
    let Some(length) = head.header("content-length").and_then(|length| length.parse::<u64>().ok()) else {
        return refuse(411, "say how long the photo is");
    };
    if length > most as u64 {
        return refuse(
            413,
            format!("the photo has {:.1} MB; at most {:.1} are taken", length as f64 / 1e6, most as f64 / 1e6),
        );
    }
    let length = length as usize;
    let mut body = std::mem::take(&mut head.rest);
    body.truncate(length);
    room(body.len())?;
    if head.header("expect").is_some_and(|expects| expects.eq_ignore_ascii_case("100-continue")) {
        let _ = Patient::new(stream, until).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut patient = Patient::new(stream, until);
    let mut piece = vec![0; PIECE];
    while body.len() < length {
        let wanted = PIECE.min(length - body.len());
        match patient.read(&mut piece[..wanted]) {
            Ok(0) | Err(_) => return refuse(408, "the photo did not arrive whole, or not in time"),
            Ok(count) => {
                room(count)?;
                // Not twice what there is, as a growing list takes.
                body.reserve_exact(if body.capacity() < body.len() + count {
                    (length - body.len()).min(1 << 20)
                } else {
                    0
                });
                body.extend_from_slice(&piece[..count]);
            }
        }
    }
    Ok(body)
}

/// `a=b&c=d`, with `%20` and `+` for spaces.
fn fields(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (bytes[at], code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Headers that every answer has: nothing is kept, framed, guessed or shared with another site.
const ALWAYS: &str = "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\nCross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\nPermissions-Policy: camera=(), microphone=(), geolocation=()\r\n";

/// Sends the head of an answer; `length` is left out where the body goes on until the connection ends.
pub(crate) fn send_head(
    stream: &mut Patient,
    status: u16,
    media: &str,
    length: Option<usize>,
    more: &str,
) -> io::Result<()> {
    let word = match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let length = length.map_or_else(String::new, |length| format!("Content-Length: {length}\r\n"));
    let head = format!("HTTP/1.1 {status} {word}\r\nContent-Type: {media}\r\n{length}{ALWAYS}{more}\r\n");
    stream.write_all(head.as_bytes())
}

/// Sends a whole answer.
pub(crate) fn send(stream: &mut Patient, status: u16, media: &str, body: &[u8], more: &str) -> io::Result<()> {
    send_head(stream, status, media, Some(body.len()), more)?;
    stream.write_all(body)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_nonsense_is_text() {
        let found = fields("name=a%20b+c&class=&x&bad=%zz%4&utf=%ff%C3%A5");
        let expected = [("name", "a b c"), ("class", ""), ("x", ""), ("bad", "%zz%4"), ("utf", "\u{fffd}å")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
