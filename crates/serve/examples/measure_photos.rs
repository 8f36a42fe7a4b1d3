//! A server whose engine only says how long a photo is; yours explains it. `cargo run -p faithful-serve --example
//! measure_photos -- 127.0.0.1:8080`; with `--check`, it sends itself a photo and ends.

use faithful_serve::{Answer, Engine, Limits, Progress, Request, Site, serve};
use serde_json::json;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

struct Length;

impl Engine for Length {
    fn check(&self, _: &Request) -> Result<(), String> {
        Ok(())
    }

    fn answer(&self, photo: &[u8], _: &Request, progress: &Progress) -> Result<Answer, String> {
        progress.announce(1);
        progress.advance(1);
        Ok(Answer { shown: json!({ "bytes": photo.len() }), files: Vec::new() })
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "--check".into());
    let check = address == "--check";
    let listener = TcpListener::bind(if check { "127.0.0.1:0" } else { &address })?;
    let local = listener.local_addr()?;
    println!("http://{local}/");
    let stop = AtomicBool::new(false);
    let site = Site { html: "<p>POST a photo to /jobs</p>".into(), ..Site::default() };
    std::thread::scope(|scope| {
        if check {
            scope.spawn(|| {
                let told = ask(local);
                stop.store(true, Ordering::Relaxed);
                match told {
                    Ok(text) => println!("{text}"),
                    Err(error) => println!("nothing came back: {error}"),
                }
            });
        }
        serve(&listener, &site, &Length, Limits::default(), &stop)
    })
}

/// Sends four bytes, and gives the answer's last line: the number of the job.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n\xff\xd8\xff\xd9")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}
