//! Pulling from a server on loopback, converting, and using what came.

#[path = "../../../fetch/tests/support/mod.rs"]
mod server;

use super::support::{Place, fixture, name};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use server::{Server, Step};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{Read, Write as _, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const WEIGHTS: &str = "squeezenet1_1-b8a52dc0.pth";

/// Weights of SqueezeNet 1.1 that have learnt nothing, and their SHA-256. The published digest is another: `--sha256` says so.
fn weights() -> &'static (Vec<u8>, String) {
    static WEIGHTS: OnceLock<(Vec<u8>, String)> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let mut shapes = vec![("features.0".to_owned(), vec![64, 3, 3, 3])];
        let fires = [
            (3, 64, 16, 64),
            (4, 128, 16, 64),
            (6, 128, 32, 128),
            (7, 256, 32, 128),
            (9, 256, 48, 192),
            (10, 384, 48, 192),
            (11, 384, 64, 256),
            (12, 512, 64, 256),
        ];
        for (place, inputs, squeezed, expanded) in fires {
            shapes.push((format!("features.{place}.squeeze"), vec![squeezed, inputs, 1, 1]));
            shapes.push((format!("features.{place}.expand1x1"), vec![expanded, squeezed, 1, 1]));
            shapes.push((format!("features.{place}.expand3x3"), vec![expanded, squeezed, 3, 3]));
        }
        shapes.push(("classifier.1".to_owned(), vec![1000, 512, 1, 1]));
        let mut state = 1_u32;
        let mut tensors = Vec::new();
        for (name, shape) in shapes {
            for (kind, shape) in [("bias", vec![shape[0]]), ("weight", shape)] {
                let count: usize = shape.iter().product();
                let value = |_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (f64::from(state >> 8) / f64::from(1_u32 << 24) - 0.5) as f32 / 8.0
                };
                let bytes: Vec<u8> = (0..count).map(value).flat_map(f32::to_le_bytes).collect();
                tensors.push((format!("{name}.{kind}"), shape, bytes));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        let digest = digest(&bytes);
        (bytes, digest)
    })
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn serve(steps: &[Step]) -> Server {
    Server::new(&[(WEIGHTS, &weights().0)], steps)
}

/// A command that asks `server` instead of the world, and finds no cache of other programs.
fn command(place: &Place, server: &Server, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    for variable in
        ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE"]
    {
        command.env_remove(variable).env_remove(variable.to_lowercase());
    }
    command.env_remove("SSL_CERT_FILE").env_remove("FAITHFUL_OFFLINE");
    command
        .env("FAITHFUL_MIRROR", server.url())
        .env("HF_HOME", place.path("hf"))
        .env("TORCH_HOME", place.path("torch"));
    command
}

fn run(place: &Place, server: &Server, arguments: &[&str]) -> super::support::Ran {
    super::support::Ran(command(place, server, arguments).output().unwrap())
}

fn pull() -> [&'static str; 6] {
    ["model", "pull", "squeezenet1_1", "--json", "--sha256", &weights().1]
}

#[test]
fn what_was_pulled_is_a_model_like_the_others() {
    let (place, server) = (Place::new(), serve(&[Step::Redirect("/moved"), Step::Status(503, Some("0"))]));
    let photo = place.scene("scene.png", 0);
    place
        .run(&["predict", name(&photo), "--model", "squeezenet1_1"])
        .refused(2, &["faithful model pull squeezenet1_1"]);

    let pulled = &run(&place, &server, &pull()).objects()[0];
    assert_eq!((pulled["fetched"].as_bool(), pulled["trust"].as_str()), (Some(true), Some("asked")), "{pulled}");
    assert_eq!(pulled["url"], format!("https://download.pytorch.org/models/{WEIGHTS}"));
    assert_eq!(server.asked()[0].target, format!("/download.pytorch.org/models/{WEIGHTS}"));
    assert_eq!(place.names("home/models"), ["squeezenet1_1.json", "squeezenet1_1.safetensors"]);
    assert_eq!(place.names("home/downloads"), ["squeezenet1_1.lock"]);

    let seen = &place.run(&["predict", name(&photo), "--model", "squeezenet1_1", "--json"]).objects()[0];
    let labels = faithful_model::Labels::imagenet();
    let class = seen["top"][0]["class"].as_u64().unwrap() as usize;
    assert_eq!(seen["top"][0]["label"], labels.name(class), "{seen}");
    let models = place.run(&["model", "list", "--json"]).objects();
    assert!(models.iter().any(|model| model["name"] == "squeezenet1_1" && model["place"] == "file"));
    assert!(place.run(&["model", "list"]).stdout().contains("faithful model pull vgg16"));

    // Once more asks nobody, and needs nobody.
    let before = server.asked().len();
    let again = run(&place, &server, &[&pull()[..], &["--offline"]].concat());
    assert_eq!(again.objects()[0]["fetched"], false);
    assert_eq!(server.asked().len(), before);
}

#[test]
fn what_cannot_be_fetched_is_said_in_one_line_and_leaves_nothing() {
    let (place, server) = (Place::new(), serve(&[]));
    let published = run(&place, &server, &["model", "pull", "squeezenet1_1", "-q"]);
    published.refused(1, &["its SHA-256 is", "b8a52dc049b60e4b", "faithful model convert"]);
    run(&place, &server, &["model", "pull", "vgg16", "-q"])
        .refused(1, &["vgg16 could not be fetched", "404 Not Found"]);
    run(&place, &server, &["model", "pull", "vgg61"]).refused(2, &["`vgg16`", "faithful model list"]);
    run(&place, &server, &["model", "pull", "vgg16", "--sha256", "12"]).refused(2, &["64 hexadecimal digits"]);
    run(&place, &server, &["model", "pull", "vgg16", "vgg19", "--sha256", "12"]).refused(2, &["one name"]);
    run(&place, &server, &["model", "pull", "vgg16", "--offline"]).refused(1, &["while offline", "torch", "hf"]);
    assert_eq!(place.names("home/models"), [""; 0]);

    // The right file for another architecture.
    let other = Server::new(&[("mobilenet_v2-b0353104.pth", &weights().0)], &[]);
    let arguments = ["model", "pull", "mobilenet_v2", "-q", "--sha256", &weights().1];
    run(&place, &other, &arguments).refused(1, &["is of no use", "not mobilenet_v2's weights"]);
    assert_eq!(place.names("home/models"), [""; 0]);
}

/// Nothing listens there: no minute of waiting, as on a machine without a network.
#[test]
fn without_a_network_a_pull_gives_up_after_seconds() {
    let (place, server) = (Place::new(), serve(&[]));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let ran = command(&place, &server, &pull())
        .env("FAITHFUL_MIRROR", format!("http://{closed}"))
        .arg("-q")
        .output()
        .unwrap();
    super::support::Ran(ran).refused(1, &["squeezenet1_1 could not be fetched", "faithful model convert"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

/// Waits until `is_so`; half a minute is for machines that have much to do.
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How long the file is that is being fetched.
fn fetched_bytes(place: &Place) -> u64 {
    let parts = place.names("home/downloads/squeezenet1_1");
    let lengths = parts.iter().filter(|name| name.rsplit('.').next() == Some("part")).filter_map(|name| {
        let path = place.path("home/downloads/squeezenet1_1").join(name);
        std::fs::metadata(path).ok().map(|metadata| metadata.len())
    });
    lengths.sum()
}

#[test]
fn a_pull_that_was_killed_goes_on() {
    let (place, server) = (Place::new(), serve(&[Step::Stall(2_000_000)]));
    let mut child = command(&place, &server, &pull()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(|| fetched_bytes(&place) == 2_000_000);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.names("home/models"), [""; 0]);
    let ran = run(&place, &server, &pull());
    assert_eq!(ran.objects()[0]["fetched"], true);
    assert!(ran.stderr().contains("going on after 2000000 bytes"), "{}", ran.stderr());
    let again = server.asked().into_iter().filter(|asked| asked.target.ends_with(WEIGHTS)).nth(1).unwrap();
    assert_eq!(again.header("range"), Some("bytes=2000000-"));
}

#[test]
fn two_processes_fetch_once() {
    let (place, server) = (Place::new(), serve(&[Step::Cut(1_000_000)]));
    let start = || command(&place, &server, &pull()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children = [start(), start()];
    let outputs = children.map(|child| super::support::Ran(child.wait_with_output().unwrap()));
    let mut fetched = outputs.iter().map(|ran| ran.objects()[0]["fetched"].as_bool().unwrap()).collect::<Vec<_>>();
    fetched.sort_unstable();
    assert_eq!(fetched, [false, true]);
    assert_eq!(server.count(WEIGHTS), 2);
}

/// How many connections went through the proxy.
static TUNNELS: AtomicUsize = AtomicUsize::new(0);

/// What a proxy does with a connection.
fn tunnel(mut client: TcpStream) -> std::io::Result<()> {
    let asked = server::head(&mut client)?;
    let mut there = TcpStream::connect(&asked.target)?;
    TUNNELS.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_client, mut to_there) = (client.try_clone()?, there.try_clone()?);
    thread::spawn(move || drop(copy(&mut from_client, &mut to_there)));
    copy(&mut there, &mut client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn proxies_are_asked_and_hosts_without_them_are_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || tunnel(client));
        }
    });
    let (place, server) = (Place::new(), serve(&[]));
    let ran = command(&place, &server, &pull()).env("HTTPS_PROXY", &proxy).output().unwrap();
    assert_eq!(super::support::Ran(ran).objects()[0]["fetched"], true);
    assert_eq!(TUNNELS.load(Ordering::SeqCst), 1);

    let place = Place::new();
    let ran =
        command(&place, &server, &pull()).env("HTTPS_PROXY", &proxy).env("NO_PROXY", "127.0.0.1").output().unwrap();
    assert_eq!(super::support::Ran(ran).objects()[0]["fetched"], true);
    assert_eq!(TUNNELS.load(Ordering::SeqCst), 1);
}

/// A zip file with one file that is not compressed.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(content);
    let length = (content.len() as u32).to_le_bytes();
    let common = [
        &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &checksum.sum().to_le_bytes(),
        &length,
        &length,
        &(name.len() as u16).to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    let local = [b"PK\x03\x04", &common[..], name.as_bytes(), content].concat();
    let directory = [b"PK\x01\x02\x14\x00", &common[..], &[0; 14], name.as_bytes()].concat();
    let end = [&(directory.len() as u32).to_le_bytes()[..], &(local.len() as u32).to_le_bytes(), &[0, 0]].concat();
    [&local[..], &directory, b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00", &end].concat()
}

#[test]
fn engines_that_were_pulled_need_no_data_option() {
    let place = Place::new();
    place.run(&["rul", "train", "--set", "FD001"]).refused(2, &["--data", "faithful rul pull"]);
    let zip = archive("train_FD001.txt", super::rul::series(&[40, 30]).as_bytes());
    let server = Server::new(&[("CMAPSSData.zip", &zip)], &[Step::Corrupt]);
    let published = run(&place, &server, &["rul", "pull", "-q"]);
    published.refused(1, &["cmapss could not be fetched", "74bef434a34d"]);
    let pulled = run(&place, &server, &["rul", "pull", "--json", "--sha256", &digest(&zip)]);
    assert_eq!(pulled.objects()[0]["trust"], "asked");
    let options = ["--model", "cnn-lstm", "--window", "10", "--epochs", "1", "--stride", "9", "--validation", "0.5"];
    let train = place.run(&[&["rul", "train", "--set", "FD001", "--out", "w.safetensors"][..], &options].concat());
    assert_eq!(train.code(), 0, "{}", train.stderr());

    let page = Server::new(&[("CMAPSSData.zip", b"<html>log in</html>")], &[]);
    let sha256 = digest(b"<html>log in</html>");
    let refused = run(&place, &page, &["rul", "pull", "-q", "--sha256", &sha256]);
    refused.refused(1, &["is of no use", "does not hold C-MAPSS"]);
    assert!(std::fs::read(place.path("home/data/CMAPSSData.zip")).unwrap() == zip, "the old file stays");
}

#[test]
fn checkpoints_become_safetensors() {
    let place = Place::new();
    let from = fixture("goldens/torch/zip.pth");
    let done = place.run(&["model", "convert", name(&from), "out.safetensors", "--json"]).objects();
    assert_eq!((done[0]["tensors"].as_u64(), done[0]["file"].as_str()), (Some(10), Some("out.safetensors")));
    let mut start = [0; 9];
    std::fs::File::open(place.path("out.safetensors")).unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start[8], b'{');
    let convert = |more: &[&str]| place.run(&[&["model", "convert", name(&from)], more].concat());
    convert(&["out.bin"]).refused(2, &[".safetensors"]);
    convert(&["x.safetensors", "--architecture", "vgg61"]).refused(2, &["`vgg16`"]);
    convert(&["x.safetensors", "--architecture", "vgg16"]).refused(1, &["these are not vgg16's weights", "missing"]);
    place.run(&["model", "convert", "absent.pth", "x.safetensors"]).refused(1, &["absent.pth"]);
    assert!(!place.path("x.safetensors").exists());
    place.run(&["predict", "a.png", "--model", "net.pth"]).refused(2, &["faithful model convert net.pth"]);
}
