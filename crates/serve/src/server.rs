//! The socket, the routes and the workers.

use crate::http::{self, Head, Refusal, refuse};
use crate::jobs::{Job, Jobs, State};
use crate::{Engine, Limits, Progress, Request};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What is served besides photos' answers.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The page.
    pub html: String,
    /// Its content security policy.
    pub policy: String,
    /// Names by which a browser may call the server besides its address and `localhost`: `maps.example.org`.
    pub hosts: Vec<String>,
}

struct Server<'a> {
    site: &'a Site,
    engine: &'a dyn Engine,
    jobs: Jobs,
    limits: Limits,
    address: SocketAddr,
    stop: &'a AtomicBool,
}

/// Serves until `stop` is true.
///
/// # Errors
/// Where the socket fails.
pub fn serve(
    listener: &TcpListener,
    site: &Site,
    engine: &dyn Engine,
    limits: Limits,
    stop: &AtomicBool,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let server = Server { site, engine, jobs: Jobs::new(limits), limits, address, stop };
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..limits.workers.max(1) {
            scope.spawn(|| server.work());
        }
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, peer)) => {
                    // One too many is closed at once.
                    if open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
                        open.fetch_sub(1, Ordering::Relaxed);
                        continue;
                    }
                    let (server, open) = (&server, &open);
                    let begun = std::thread::Builder::new().spawn_scoped(scope, move || {
                        server.converse(stream, peer.ip());
                        open.fetch_sub(1, Ordering::Relaxed);
                    });
                    if begun.is_err() {
                        open.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                // Nobody there, or a connection that broke before it was taken.
                Err(_) => std::thread::sleep(Duration::from_millis(15)),
            }
        }
        server.jobs.close();
    });
    Ok(())
}

impl Server<'_> {
    /// Explains one photo after the other.
    fn work(&self) {
        while let Some(job) = self.jobs.next() {
            let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.engine.answer(&job.photo, &job.request, &job.progress)
            }));
            let result = answered.unwrap_or_else(|_| Err("something went wrong with this photo".into()));
            self.jobs.finish(&job.id, result);
        }
    }

    /// Answers one connection; whatever happens to it concerns nobody else.
    fn converse(&self, mut stream: TcpStream, peer: IpAddr) {
        let patience = self.limits.patience;
        if stream.set_nonblocking(false).is_err() || stream.set_write_timeout(Some(patience)).is_err() {
            return;
        }
        let answered = http::read_head(&stream, patience).and_then(|mut head| self.route(&mut stream, &mut head, peer));
        if let Err((status, reason)) = answered {
            let body = json!({ "error": reason }).to_string();
            let _ = http::send(&mut stream, status, "application/json", body.as_bytes(), "");
            // What is still coming is taken in for a moment, or the browser would not read the answer.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
            let _ = io::copy(&mut io::Read::take(&stream, 4 << 20), &mut io::sink());
        }
    }

    fn route(&self, stream: &mut TcpStream, head: &mut Head, peer: IpAddr) -> Result<(), Refusal> {
        self.trusted(head)?;
        let path = head.path.clone();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        // A browser that has left takes no answer: errors of sending are nobody's.
        let sent = match (head.method.as_str(), parts.as_slice()) {
            ("GET", [""]) => {
                let policy = format!("Content-Security-Policy: {}; frame-ancestors 'none'\r\n", self.site.policy);
                http::send(stream, 200, "text/html; charset=utf-8", self.site.html.as_bytes(), &policy)
            }
            ("POST", ["jobs"]) => {
                let id = self.take(stream, head, peer)?;
                let body = json!({ "id": id }).to_string();
                http::send(stream, 202, "application/json", body.as_bytes(), "")
            }
            ("GET", ["jobs", id, "events"]) => self.tell(stream, id),
            ("GET", ["jobs", id]) => match self.jobs.state(id) {
                State::Done(answer) => {
                    let body = answer.shown.to_string();
                    http::send(stream, 200, "application/json", body.as_bytes(), "")
                }
                State::Failed(reason) => return refuse(422, reason),
                _ => return refuse(404, "there is no such result (any more)"),
            },
            ("GET", ["jobs", id, "files", name]) => {
                let State::Done(answer) = self.jobs.state(id) else { return refuse(404, "there is no such result") };
                let Some(file) = answer.files.iter().find(|file| file.name == *name) else {
                    return refuse(404, "there is no such file");
                };
                let more = format!("Content-Disposition: attachment; filename=\"{}\"\r\n", file.name);
                http::send(stream, 200, file.media, &file.bytes, &more)
            }
            ("DELETE", ["jobs", id]) => {
                self.jobs.cancel(id);
                http::send(stream, 200, "application/json", b"{}", "")
            }
            ("GET" | "POST" | "DELETE", _) => return refuse(404, "there is nothing here"),
            _ => return refuse(405, "this is not done here"),
        };
        drop(sent);
        Ok(())
    }

    /// Refuses requests that were meant for another host (a web page whose name now leads here), and requests that
    /// another site's page makes.
    fn trusted(&self, head: &Head) -> Result<(), Refusal> {
        let host = head.header("host").unwrap_or_default();
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let loopback = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let known = self.site.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
        // A server on all of a machine's addresses may be called by any of them, as a number.
        let number =
            name.parse::<IpAddr>().is_ok_and(|ip| self.address.ip().is_unspecified() || ip == self.address.ip());
        if !(loopback || known || number) {
            return refuse(421, "this server does not answer to that name");
        }
        let site = head.header("sec-fetch-site").unwrap_or("same-origin");
        let origin =
            head.header("origin").map(|origin| origin.trim_start_matches("http://").trim_start_matches("https://"));
        let own = matches!(site, "same-origin" | "none") && origin.is_none_or(|origin| origin == host);
        if head.method != "GET" && !own || head.method == "GET" && site == "cross-site" && head.path != "/" {
            return refuse(403, "only this server's own page may ask that");
        }
        Ok(())
    }

    /// Takes a photo into the queue.
    fn take(&self, stream: &TcpStream, head: &mut Head, peer: IpAddr) -> Result<String, Refusal> {
        let request = Request { fields: std::mem::take(&mut head.query) };
        self.engine.check(&request).or_else(|reason| refuse(422, reason))?;
        let body = http::read_body(stream, head, self.limits.upload, self.limits.patience)?;
        if body.is_empty() {
            return refuse(422, "there is no photo in it");
        }
        let mut random = [0u8; 16];
        OsRng.try_fill_bytes(&mut random).or_else(|_| refuse(503, "no random numbers on this machine"))?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        // Users behind one address are told apart by what their page says; someone who lies shares with themselves.
        let user = format!("{peer} {}", request.get("client").unwrap_or_default());
        let job = Job { id: id.clone(), request, photo: body, progress: Progress::default() };
        self.jobs.add(&user, job).or_else(|reason| refuse(429, reason))?;
        Ok(id)
    }

    /// Server-sent events until the job has come to its end, or the browser has left.
    fn tell(&self, stream: &mut TcpStream, id: &str) -> io::Result<()> {
        http::send_head(stream, 200, "text/event-stream", None, "")?;
        let mut last = Value::Null;
        let mut silent = 0;
        loop {
            let (event, ended) = match self.jobs.state(id) {
                State::Waiting(before) => (json!({ "state": "waiting", "before": before }), false),
                State::Running(job, since) => {
                    let (done, all) = job.progress.so_far();
                    (
                        json!({ "state": "running", "done": done, "all": all, "seconds": since.elapsed().as_secs() }),
                        false,
                    )
                }
                State::Done(_) => (json!({ "state": "done" }), true),
                State::Failed(reason) => (json!({ "state": "failed", "reason": reason }), true),
                State::Unknown => (json!({ "state": "failed", "reason": "it is not there any more" }), true),
            };
            if event != last {
                stream.write_all(format!("data: {event}\n\n").as_bytes())?;
                last = event;
                silent = 0;
            } else if silent > 50 {
                // A line that says nothing finds out whether anyone listens.
                stream.write_all(b": \n\n")?;
                silent = 0;
            }
            stream.flush()?;
            if ended || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            silent += 1;
            self.jobs.wait(Duration::from_millis(200));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, File};
    use std::io::Read;

    /// Answers with the photo's length; `bad` fails, `panic` panics, `slow` waits until nobody wants it.
    struct Lengths;

    impl Engine for Lengths {
        fn check(&self, request: &Request) -> Result<(), String> {
            if request.get("method") == Some("none") { Err("no method `none`".into()) } else { Ok(()) }
        }

        fn answer(&self, photo: &[u8], request: &Request, progress: &Progress) -> Result<Answer, String> {
            match request.get("method") {
                Some("bad") => return Err("this is no photo".into()),
                Some("panic") => panic!("on purpose"),
                Some("slow") => {
                    while !progress.unwanted() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                _ => {}
            }
            let file = File { name: "map.npy".into(), media: "application/octet-stream", bytes: photo.to_vec() };
            Ok(Answer { shown: json!({ "bytes": photo.len() }), files: vec![file] })
        }
    }

    fn ask(address: SocketAddr, request: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, text)
    }

    fn with_server(limits: Limits, test: impl FnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = AtomicBool::new(false);
        let site = Site { html: "<!doctype html>".into(), policy: "default-src 'none'".into(), hosts: Vec::new() };
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, &site, &Lengths, limits, &stop));
            let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(address)));
            stop.store(true, Ordering::Relaxed);
            server.join().unwrap().unwrap();
            if let Err(panic) = tested {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn post(address: SocketAddr, query: &str, body: &[u8]) -> (u16, String) {
        let head = format!("POST /jobs?{query} HTTP/1.1\nHost: {address}\nContent-Length: {}\n\n", body.len());
        ask(address, &head, body)
    }

    fn get(address: SocketAddr, path: &str) -> (u16, String) {
        ask(address, &format!("GET {path} HTTP/1.1\nHost: localhost\n\n"), b"")
    }

    fn id_of(answer: &str) -> String {
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        body["id"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_photo_is_queued_explained_told_of_and_fetched() {
        with_server(Limits::default(), |address| {
            let (status, page) = get(address, "/");
            assert_eq!(status, 200);
            for header in [
                "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
                "nosniff",
                "X-Frame-Options: DENY",
            ] {
                assert!(page.contains(header), "{page}");
            }
            assert!(!page.to_lowercase().contains("access-control"), "{page}");
            let (status, answer) = post(address, "method=x&name=a.png", b"12345");
            assert_eq!(status, 202, "{answer}");
            let id = id_of(&answer);
            let (_, events) = get(address, &format!("/jobs/{id}/events"));
            assert!(events.contains("\"state\":\"done\""), "{events}");
            assert!(get(address, &format!("/jobs/{id}")).1.ends_with("{\"bytes\":5}"));
            let (status, file) = get(address, &format!("/jobs/{id}/files/map.npy"));
            assert!(status == 200 && file.ends_with("12345") && file.contains("attachment"), "{file}");
        });
    }

    #[test]
    fn what_fails_fails_alone() {
        with_server(Limits::default(), |address| {
            for (method, reason) in [("bad", "this is no photo"), ("panic", "something went wrong")] {
                let id = id_of(&post(address, &format!("method={method}"), b"x").1);
                let (_, events) = get(address, &format!("/jobs/{id}/events"));
                assert!(events.contains("\"state\":\"failed\"") && events.contains(reason), "{events}");
                assert_eq!(get(address, &format!("/jobs/{id}")).0, 422);
            }
            assert_eq!(post(address, "method=none", b"x").0, 422);
            let id = id_of(&post(address, "method=x", b"123").1);
            assert!(get(address, &format!("/jobs/{id}/events")).1.contains("done"));
        });
    }

    #[test]
    fn hostile_requests_are_refused_and_harm_nobody() {
        let limits = Limits { upload: 1000, patience: Duration::from_millis(400), ..Limits::default() };
        with_server(limits, |address| {
            assert_eq!(post(address, "", &[0; 1001]).0, 413);
            assert_eq!(post(address, "", b"").0, 422);
            let liar = "POST /jobs HTTP/1.1\nHost: localhost\nContent-Length: 99999999999999999999\n\n";
            assert_eq!(ask(address, liar, b"x").0, 411);
            let huge = "POST /jobs HTTP/1.1\nHost: localhost\nContent-Length: 9999999999999\n\n";
            assert_eq!(ask(address, huge, b"x").0, 413);
            let chunked = "POST /jobs HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n";
            assert_eq!(ask(address, chunked, b"1\r\nx\r\n0\r\n\r\n").0, 411);
            let twice = "POST /jobs HTTP/1.1\nHost: localhost\nContent-Length: 1\nContent-Length: 5\n\n";
            assert_eq!(ask(address, twice, b"x").0, 411);
            let short = "POST /jobs HTTP/1.1\nHost: localhost\nContent-Length: 900\n\n";
            assert_eq!(ask(address, short, b"only this").0, 408, "it is not waited for");
            assert_eq!(
                ask(address, &format!("GET / HTTP/1.1\nHost: localhost\nX: {}\n\n", "a".repeat(40_000)), b"").0,
                431
            );
            assert_eq!(ask(address, "rubbish\n\n\n", b"").0, 400);
            assert_eq!(ask(address, "BREW / HTTP/1.1\nHost: localhost\n\n", b"").0, 405);
            for path in ["/../../etc/passwd", "/jobs/../x", "/jobs/%2e%2e/files/passwd", "/files", "//"] {
                assert_eq!(get(address, path).0, 404, "{path}");
            }
            // Another site's page, by its own name for this address or from its own origin.
            assert_eq!(ask(address, "GET / HTTP/1.1\nHost: evil.example\n\n", b"").0, 421);
            let cross =
                format!("POST /jobs HTTP/1.1\nHost: {address}\nOrigin: http://evil.example\nContent-Length: 1\n\n");
            assert_eq!(ask(address, &cross, b"x").0, 403);
            let cross =
                format!("POST /jobs HTTP/1.1\nHost: {address}\nSec-Fetch-Site: cross-site\nContent-Length: 1\n\n");
            assert_eq!(ask(address, &cross, b"x").0, 403);
            assert_eq!(get(address, "/").0, 200);
        });
    }

    #[test]
    fn a_photo_that_is_given_up_makes_room() {
        with_server(Limits { waiting_each: 1, ..Limits::default() }, |address| {
            let slow = id_of(&post(address, "method=slow", b"x").1);
            while !get(address, "/").1.is_empty() && post(address, "method=x", b"x").0 == 429 {}
            assert_eq!(post(address, "method=x", b"x").0, 429, "one waits already");
            assert_eq!(post(address, "method=x&client=other", b"x").0, 202, "another user is not held up");
            let delete = format!("DELETE /jobs/{slow} HTTP/1.1\nHost: localhost\n\n");
            assert_eq!(ask(address, &delete, b"").0, 200);
            let begin = std::time::Instant::now();
            while post(address, "method=x", b"x").0 == 429 {
                assert!(begin.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
    }
}
