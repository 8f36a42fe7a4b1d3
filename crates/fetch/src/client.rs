use crate::error::{Error, Result, at};
use crate::settings::Settings;
use std::io::Read;
use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

/// Asks servers for files.
pub(crate) struct Client {
    agent: Agent,
}

/// What a server answered.
pub(crate) enum Reply {
    /// The file from byte `start` on.
    Body { start: u64, total: Option<u64>, validator: Option<String>, body: Box<dyn Read> },
    /// There is nothing behind the bytes that are here; the file's length, where the server says it.
    Nothing(Option<u64>),
    /// It does not give the file now; whether it may later, and when it says so.
    Refused { reason: String, again: bool, pause: Option<Duration> },
}

impl Client {
    /// # Errors
    /// [`Error::Io`] and [`Error::Parameter`] for certificates that cannot be read.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let patience = &settings.patience;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("faithful/", env!("CARGO_PKG_VERSION")))
            // A range of compressed bytes could not be put behind what is there.
            .accept_encoding("identity")
            .timeout_connect(Some(patience.connection))
            .timeout_recv_response(Some(patience.answer))
            .timeout_per_read(Some(patience.bytes))
            .proxy(if settings.proxies { Proxy::try_from_env() } else { None });
        if let Some(path) = &settings.certificates {
            let pem = std::fs::read(path).map_err(at(path))?;
            let read: Vec<_> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if read.is_empty() {
                let reason = format!("there is no certificate in {}", path.display());
                return Err(Error::Parameter { what: "SSL_CERT_FILE", reason });
            }
            config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&read)).build());
        }
        Ok(Self { agent: config.build().into() })
    }

    /// Asks for what is behind the first `from` bytes; `validator` says of which version of the file they are.
    pub(crate) fn ask(&self, url: &str, from: u64, validator: Option<&str>) -> std::result::Result<Reply, ureq::Error> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
            if let Some(validator) = validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let answer = request.call()?;
        let (parts, body) = answer.into_parts();
        let headers = &parts.headers;
        let range = text(headers, &header::CONTENT_RANGE).and_then(content_range);
        let length = body.content_length();
        let validator = text(headers, &header::ETAG)
            // A weak validator does not vouch for bytes.
            .filter(|tag| !tag.starts_with("W/"))
            .or_else(|| text(headers, &header::LAST_MODIFIED))
            .map(str::to_owned);
        Ok(match (parts.status.as_u16(), range) {
            (200, _) => Reply::Body { start: 0, total: length, validator, body: Box::new(body.into_reader()) },
            (206, Some((Some(start), total))) if start == from => {
                let total = total.or_else(|| length.map(|length| start + length));
                Reply::Body { start, total, validator, body: Box::new(body.into_reader()) }
            }
            (206, _) => Reply::Refused { reason: "it sent another range than asked".into(), again: false, pause: None },
            (416, range) => Reply::Nothing(range.and_then(|(_, total)| total)),
            (status, _) => Reply::Refused {
                reason: match parts.status.canonical_reason() {
                    Some(words) => format!("{status} {words}"),
                    None => status.to_string(),
                },
                again: matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
                pause: text(headers, &header::RETRY_AFTER).and_then(|text| retry_after(text, SystemTime::now())),
            },
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `bytes 5-9/10` and `bytes */10` as the first byte and the whole length.
fn content_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
    Some((start, total.parse().ok()))
}

/// Seconds or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((Some(5), Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(content_range("bytes */10"), Some((None, Some(10))));
        assert_eq!(content_range("lines 1-2/3"), None);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Sat, 06 Nov 1993 08:49:47 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
