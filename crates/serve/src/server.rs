//! The socket, the routes and the workers.

use crate::budget::{Budget, Full};
use crate::connections::{Connections, Place, Stage};
use crate::http::{self, Head, Patient, Refusal, refuse};
use crate::jobs::{Job, Jobs, State};
use crate::{Engine, Limits, Progress, Request};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    connections: Connections,
    photos: Arc<Budget>,
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
    let server = Server {
        site,
        engine,
        jobs: Jobs::new(limits),
        connections: Connections::new(limits.connections, limits.connections_address),
        photos: Budget::new(limits.photo_bytes, limits.photo_bytes_address.max(limits.upload)),
        limits,
        address,
        stop,
    };
    std::thread::scope(|scope| {
        for _ in 0..limits.workers.max(1) {
            scope.spawn(|| server.work());
        }
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let server = &server;
                    // Without a place, or a thread, the connection is closed.
                    if let Some(place) = server.connections.admit(&stream, peer.ip()) {
                        let converse = move || server.converse(&stream, peer.ip(), &place);
                        let _ = std::thread::Builder::new().spawn_scoped(scope, converse);
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
            self.jobs.finish(&job, result);
        }
    }

    /// Answers one connection; whatever happens to it concerns nobody else.
    fn converse(&self, stream: &TcpStream, peer: IpAddr, place: &Place) {
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        let begun = Instant::now();
        let head = http::read_head(stream, begun + self.limits.head.min(self.limits.request));
        let answered =
            head.and_then(|mut head| self.route(stream, &mut head, peer, place, begun + self.limits.request));
        if let Err((status, reason)) = answered {
            place.at(Stage::Answering);
            let body = json!({ "error": reason }).to_string();
            let mut patient = Patient::new(stream, Instant::now() + Duration::from_secs(2));
            let _ = http::send(&mut patient, status, "application/json", body.as_bytes(), "");
            // What is still coming is taken in for a moment, or the browser would not read the answer.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let rest = Patient::new(stream, Instant::now() + Duration::from_millis(500));
            let _ = io::copy(&mut io::Read::take(rest, 4 << 20), &mut io::sink());
        }
    }

    fn route(
        &self,
        stream: &TcpStream,
        head: &mut Head,
        peer: IpAddr,
        place: &Place,
        until: Instant,
    ) -> Result<(), Refusal> {
        self.trusted(head)?;
        let path = head.path.clone();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let send = |status: u16, media: &str, body: &[u8], more: &str| {
            place.at(Stage::Answering);
            let mut patient = Patient::new(stream, Instant::now() + self.limits.time_for(body.len()));
            http::send(&mut patient, status, media, body, more)
        };
        // A browser that has left takes no answer: errors of sending are nobody's.
        let sent = match (head.method.as_str(), parts.as_slice()) {
            ("GET", [""]) => {
                let policy = format!("Content-Security-Policy: {}; frame-ancestors 'none'\r\n", self.site.policy);
                send(200, "text/html; charset=utf-8", self.site.html.as_bytes(), &policy)
            }
            ("POST", ["jobs"]) => {
                let id = self.take(stream, head, peer, place, until)?;
                let body = json!({ "id": id }).to_string();
                send(202, "application/json", body.as_bytes(), "")
            }
            ("GET", ["jobs", id, "events"]) => {
                place.at(Stage::Watching);
                self.tell(stream, id)
            }
            ("GET", ["jobs", id]) => match self.jobs.state(id) {
                State::Done(found) => send(200, "application/json", &found.shown, ""),
                State::Failed(reason) => return refuse(422, reason),
                _ => return refuse(404, "there is no such result (any more)"),
            },
            ("GET", ["jobs", id, "files", name]) => {
                let State::Done(found) = self.jobs.state(id) else { return refuse(404, "there is no such result") };
                let Some(file) = found.files.iter().find(|file| file.name == *name) else {
                    return refuse(404, "there is no such file");
                };
                let more = format!("Content-Disposition: attachment; filename=\"{}\"\r\n", file.name);
                send(200, file.media, &file.bytes, &more)
            }
            ("DELETE", ["jobs", id]) => {
                self.jobs.cancel(id);
                send(200, "application/json", b"{}", "")
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
    fn take(
        &self,
        stream: &TcpStream,
        head: &mut Head,
        peer: IpAddr,
        place: &Place,
        until: Instant,
    ) -> Result<String, Refusal> {
        let request = Request { fields: std::mem::take(&mut head.query) };
        self.engine.check(&request).or_else(|reason| refuse(422, reason))?;
        let mut held = self.photos.hold(peer);
        let mut room = |bytes: usize| {
            // An upload of the same address that has been on its way for longer makes room.
            for _ in 0..64 {
                match held.grow(bytes) {
                    Ok(()) => return Ok(()),
                    Err(Full::Share) if place.end_an_older() => std::thread::sleep(Duration::from_millis(5)),
                    Err(_) => break,
                }
            }
            refuse(429, "too many photos arrive and wait; try again in a while")
        };
        let body = http::read_body(stream, head, self.limits.upload, until, &mut room)?;
        if body.is_empty() {
            return refuse(422, "there is no photo in it");
        }
        let mut random = [0u8; 16];
        OsRng.try_fill_bytes(&mut random).or_else(|_| refuse(503, "no random numbers on this machine"))?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        // Users behind one address are told apart by what their page says; they share the address's turns.
        let user = request.get("client").unwrap_or_default().to_owned();
        let progress = Progress::default();
        let job = Job { id: id.clone(), owner: peer, request, photo: body, _held: Some(held), progress };
        self.jobs.add(&user, job).or_else(|reason| refuse(429, reason))?;
        Ok(id)
    }

    /// Server-sent events until the job has come to its end, or the browser has left.
    fn tell(&self, stream: &TcpStream, id: &str) -> io::Result<()> {
        // Each event must be taken in time; how many there will be nobody knows.
        let patient = || Patient::new(stream, Instant::now() + self.limits.response);
        http::send_head(&mut patient(), 200, "text/event-stream", None, "")?;
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
                patient().write_all(format!("data: {event}\n\n").as_bytes())?;
                last = event;
                silent = 0;
            } else if silent > 50 {
                // A line that says nothing finds out whether anyone listens.
                patient().write_all(b": \n\n")?;
                silent = 0;
            }
            if ended || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            silent += 1;
            self.jobs.wait(Duration::from_millis(200));
        }
    }
}
