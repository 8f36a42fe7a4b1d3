//! `faithful serve` in bad company, on loopback and for a bounded time: how many of an ordinary user's photos are explained
//! while others write slowly, read slowly, hold uploads or call themselves by many names.

use crate::served::{Server, connect, explained, id_of};
use crate::shell::{program, root};
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What `attack` takes.
#[derive(clap::Args)]
pub(crate) struct Attack {
    /// Attackers at a time
    #[arg(long, default_value_t = 160)]
    clients: usize,
    /// Seconds of each attack
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The attackers have the user's own address
    #[arg(long)]
    same_address: bool,
    /// Only these attacks, by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// In place of attacks, so many photos of ordinary users, of many methods and sizes, and the memory in between
    #[arg(long, value_name = "PHOTOS")]
    soak: Option<usize>,
    /// The program, where it is built already; a release build by default
    #[arg(long)]
    program: Option<PathBuf>,
}

/// An attacker's work until `stop`, or until the server ends it; it is begun again then.
type Work = fn(&Attacker) -> std::io::Result<()>;

struct Attacker<'a> {
    number: usize,
    server: SocketAddr,
    from: Ipv4Addr,
    photo: &'a [u8],
    stop: &'a AtomicBool,
}

const ATTACKS: [(&str, &str, Work); 8] = [
    ("none", "nobody attacks", |attacker| attacker.pause(Duration::from_millis(100))),
    ("slow-head", "a byte of the head every 150 ms", |attacker| {
        let mut stream = attacker.connect()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")?;
        attacker.drip(&mut stream)
    }),
    ("slow-body", "a byte of the photo every 150 ms", |attacker| {
        let mut stream = attacker.upload("method=grad-cam", 30 << 20)?;
        attacker.drip(&mut stream)
    }),
    ("slow-reader", "the page is asked for and not read", |attacker| {
        let mut stream = attacker.connect()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        attacker.wait(&mut stream, |stream| stream.read(&mut [0; 16]).map(drop))
    }),
    ("refused", "an upload that is refused is held", |attacker| {
        let mut stream = attacker.upload("method=grad-cam", 1 << 40)?;
        attacker.drip(&mut stream)
    }),
    ("stalled", "30 MB of a photo, and never its end", |attacker| {
        let mut stream = attacker.upload("method=grad-cam", (30 << 20) + 1)?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        let piece = vec![0xff; 1 << 20];
        for _ in 0..30 {
            if attacker.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            stream.write_all(&piece)?;
        }
        attacker.wait(&mut stream, |_| Ok(()))
    }),
    ("names", "photos with 500 masks by users of many names", |attacker| {
        let name = format!("method=rise&draws=500&client={}", attacker.number);
        let mut stream = attacker.upload(&name, attacker.photo.len() as u64)?;
        stream.write_all(attacker.photo)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        attacker.pause(Duration::from_millis(200))
    }),
    ("given-up", "photos with 500 masks, given up when they have begun", |attacker| {
        let mut stream = attacker.upload("method=rise&draws=500", attacker.photo.len() as u64)?;
        stream.write_all(attacker.photo)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        attacker.pause(Duration::from_millis(100))?;
        if let Some(id) = id_of(&answer) {
            let mut stream = attacker.connect()?;
            stream.write_all(format!("DELETE /jobs/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
            stream.read_to_string(&mut answer)?;
        }
        Ok(())
    }),
];

impl Attacker<'_> {
    fn connect(&self) -> std::io::Result<TcpStream> {
        connect(self.server, self.from, true)
    }

    fn upload(&self, query: &str, length: u64) -> std::io::Result<TcpStream> {
        let mut stream = self.connect()?;
        let head = format!("POST /jobs?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    fn drip(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        self.wait(stream, |stream| stream.write_all(b"a"))
    }

    fn wait(
        &self,
        stream: &mut TcpStream,
        step: impl Fn(&mut TcpStream) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            step(stream)?;
            self.pause(Duration::from_millis(150))?;
        }
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps, clippy::unused_self)]
    fn pause(&self, time: Duration) -> std::io::Result<()> {
        std::thread::sleep(time);
        Ok(())
    }
}

/// Attacks, and prints a table.
pub(crate) fn attack(arguments: &Attack) -> Result<()> {
    ensure!(arguments.clients <= 1000 && arguments.seconds <= 300, "at most 1,000 clients and 300 seconds");
    let program = program(arguments.program.as_deref())?;
    if let Some(photos) = arguments.soak {
        return soak(&program, photos);
    }
    let photo = std::fs::read(root().join("fixtures/scenes/dotted-star.png"))?;
    println!("| attack | what {} do | explained | median wait, s | longest, s | most memory, MiB |", arguments.clients);
    println!("|---|---|--:|--:|--:|--:|");
    for (name, what, work) in ATTACKS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        let server = Server::start(&program, &[])?;
        let waits = against(&server, work, arguments, &photo);
        let mut served: Vec<f64> = waits.iter().flatten().copied().collect();
        served.sort_by(f64::total_cmp);
        let number = |value: Option<&f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
        let (median, longest) = (number(served.get(served.len() / 2)), number(served.last()));
        println!(
            "| {name} | {what} | {} of {} | {median} | {longest} | {:.0} |",
            served.len(),
            waits.len(),
            server.peak()
        );
    }
    Ok(())
}

/// The memory of one server that explains `photos` photos, at twenty moments.
fn soak(program: &Path, photos: usize) -> Result<()> {
    const METHODS: [&str; 6] =
        ["grad-cam", "layer-cam", "expected-grad-cam&draws=4", "saliency", "integrated-gradients&draws=4", "occlusion"];
    let scenes: Vec<_> = std::fs::read_dir(root().join("fixtures/scenes"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "png"))
        .map(std::fs::read)
        .collect::<std::io::Result<_>>()?;
    let server = Server::start(program, &[])?;
    let begun = Instant::now();
    println!("| photos | failed | seconds | most memory, MiB |\n|--:|--:|--:|--:|");
    let mut failed = 0;
    for photo in 1..=photos {
        let query = format!("method={}&name={photo}.png", METHODS[photo % METHODS.len()]);
        failed += usize::from(!explained(server.address, &query, &scenes[photo % scenes.len()])?);
        if photo.is_multiple_of(photos.div_ceil(20)) || photo == photos {
            println!("| {photo} | {failed} | {:.0} | {:.0} |", begun.elapsed().as_secs_f64(), server.peak());
        }
    }
    Ok(())
}

/// How long each of an ordinary user's photos took, in seconds, while the server is attacked; nothing for one that failed.
fn against(server: &Server, work: Work, arguments: &Attack, photo: &[u8]) -> Vec<Option<f64>> {
    let stop = AtomicBool::new(false);
    let from = if arguments.same_address { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 0, 0, 2) };
    std::thread::scope(|scope| {
        for number in 0..arguments.clients {
            let attacker = Attacker { number, server: server.address, from, photo, stop: &stop };
            scope.spawn(move || {
                while !attacker.stop.load(Ordering::Relaxed) {
                    if work(&attacker).is_err() {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            });
        }
        // The attackers take their places first.
        std::thread::sleep(Duration::from_secs(2));
        let begun = Instant::now();
        let mut waits = Vec::new();
        while begun.elapsed() < Duration::from_secs(arguments.seconds) {
            let start = Instant::now();
            let explained = explained(server.address, "method=grad-cam", photo);
            waits.push(explained.is_ok_and(|done| done).then(|| start.elapsed().as_secs_f64()));
            std::thread::sleep(Duration::from_millis(500));
        }
        stop.store(true, Ordering::Relaxed);
        waits
    })
}
