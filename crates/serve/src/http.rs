//! As much of HTTP/1.1 as a browser needs to use one page: a request per connection, bodies of a length that is said.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of a request's head, and lines in it.
const HEAD: usize = 16 << 10;
const HEADERS: usize = 64;

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

/// Reads with a limit on the whole, not on each read: a byte a second does not hold a connection for ever.
struct Patient<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

/// Reads a request up to its body.
pub(crate) fn read_head(stream: &TcpStream, patience: Duration) -> Result<Head, Refusal> {
    let mut patient = Patient { stream, until: Instant::now() + patience };
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

/// Reads the body that a head promises, if it is not longer than `most`.
pub(crate) fn read_body(
    stream: &TcpStream,
    head: &mut Head,
    most: usize,
    patience: Duration,
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
    if head.header("expect").is_some_and(|expects| expects.eq_ignore_ascii_case("100-continue")) {
        let mut stream = stream;
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let patient = Patient { stream, until: Instant::now() + patience };
    let missing = (length - body.len()) as u64;
    match patient.take(missing).read_to_end(&mut body) {
        Ok(_) if body.len() == length => Ok(body),
        _ => refuse(408, "the photo did not arrive whole"),
    }
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
    stream: &mut TcpStream,
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
pub(crate) fn send(stream: &mut TcpStream, status: u16, media: &str, body: &[u8], more: &str) -> io::Result<()> {
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
