//! The server as requests meet it that no browser would make.

use crate::{Answer, Engine, File, Limits, Progress, Request, Site, serve};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
        for header in
            ["Content-Security-Policy: default-src 'none'; frame-ancestors 'none'", "nosniff", "X-Frame-Options: DENY"]
        {
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
    let limits = Limits { upload: 1000, request: Duration::from_millis(400), ..Limits::default() };
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
        let cross = format!("POST /jobs HTTP/1.1\nHost: {address}\nOrigin: http://evil.example\nContent-Length: 1\n\n");
        assert_eq!(ask(address, &cross, b"x").0, 403);
        let cross = format!("POST /jobs HTTP/1.1\nHost: {address}\nSec-Fetch-Site: cross-site\nContent-Length: 1\n\n");
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
        let begin = Instant::now();
        while post(address, "method=x", b"x").0 == 429 {
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Connections that send nothing more.
fn stalled(address: SocketAddr, count: usize, head: &str) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(head.replace('\n', "\r\n").as_bytes());
        stream
    };
    (0..count).map(one).collect()
}

#[test]
fn connections_that_get_nowhere_give_way() {
    with_server(Limits { connections: 8, connections_address: 8, ..Limits::default() }, |address| {
        let heads = stalled(address, 8, "GET / HTTP/1.1\nHost: localhost\nX: ");
        std::thread::sleep(Duration::from_millis(700));
        for _ in 0..4 {
            assert_eq!(get(address, "/").0, 200);
        }
        let bodies = stalled(address, 8, "POST /jobs HTTP/1.1\nHost: localhost\nContent-Length: 900\n\nx");
        std::thread::sleep(Duration::from_millis(700));
        let id = id_of(&post(address, "method=x", b"123").1);
        assert!(get(address, &format!("/jobs/{id}/events")).1.contains("done"));
        drop((heads, bodies));
    });
}

#[test]
fn uploads_that_stall_take_no_more_than_their_share() {
    let limits = Limits { upload: 1000, photo_bytes: 4000, photo_bytes_address: 2000, ..Limits::default() };
    with_server(limits, |address| {
        let head = format!("POST /jobs HTTP/1.1\nHost: localhost\nContent-Length: 1000\n\n{}", "x".repeat(999));
        let held = stalled(address, 5, &head);
        std::thread::sleep(Duration::from_millis(700));
        // The older ones of the same address make room.
        let (status, answer) = post(address, "method=x", &[7; 1000]);
        assert_eq!(status, 202, "{answer}");
        assert!(get(address, &format!("/jobs/{}/events", id_of(&answer))).1.contains("done"));
        drop(held);
    });
}

#[test]
fn a_result_is_not_kept_for_ever() {
    let limits = Limits { kept_bytes: 1 << 20, ..Limits::default() };
    with_server(limits, |address| {
        let photo = vec![1; 900_000];
        let first = id_of(&post(address, "method=x", &photo).1);
        assert!(get(address, &format!("/jobs/{first}/events")).1.contains("done"));
        assert_eq!(get(address, &format!("/jobs/{first}/files/map.npy")).0, 200);
        let second = id_of(&post(address, "method=x", &photo).1);
        assert!(get(address, &format!("/jobs/{second}/events")).1.contains("done"));
        assert_eq!(get(address, &format!("/jobs/{first}")).0, 404);
        assert_eq!(get(address, &format!("/jobs/{second}")).0, 200);
    });
}
