//! `faithful serve` as its users meet it: in a browser, and by requests that no browser would make.

use super::browser::Tab;
use super::support::Place;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// A server that ends with the test.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(place: &Place, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--json"][..], more].concat();
        let mut child = place.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = serde_json::from_str::<Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }

    fn ask(&self, head: &str, body: &[u8]) -> (u16, String) {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        let head = head.replace("HOST", address).replace('\n', "\r\n");
        stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.split(' ').nth(1).unwrap_or("0").parse().unwrap_or(0), answer)
    }

    /// What becomes of a photo: the last event.
    fn fate(&self, query: &str, body: &[u8]) -> String {
        let (status, answer) = self.ask(&format!("POST /jobs?{query} HTTP/1.1\nHost: HOST"), body);
        if status != 202 {
            return answer;
        }
        let id = answer.split("\"id\":\"").nth(1).unwrap()[..32].to_owned();
        self.ask(&format!("GET /jobs/{id}/events HTTP/1.1\nHost: HOST"), b"").1
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_photo_is_explained_in_the_browser_and_its_files_can_be_saved() {
    let place = Place::new();
    let photo = place.scene("a scene <b>.png", 3);
    let server = Server::start(&place, &[]);
    let Some(mut tab) = Tab::new() else { return };
    tab.allow(&server.url);
    tab.open(&server.url);
    tab.accessible();
    tab.click("#ask .main");
    assert!(tab.text("document.getElementById('problem').textContent").contains("Choose a photo"));
    tab.choose_file("#photo", &photo);
    tab.until("document.getElementById('chosen').textContent === 'a scene <b>.png'");
    tab.set("#method", "layer-cam");
    assert!(tab.eval("document.getElementById('draws').disabled") == Value::Bool(true));
    tab.click("#curves");
    tab.click("#ask .main");
    tab.until("document.querySelector('.photo .map:nth-child(2) canvas')?.dataset.state === 'drawn'");
    assert_eq!(tab.text("document.querySelector('.photo .bar h2').textContent"), "a scene <b>.png");
    assert_eq!(tab.text("document.querySelector('.photo .map:nth-child(2) figcaption span').textContent"), "layer-cam");
    assert_eq!(tab.number("document.querySelectorAll('#queue li').length"), 0.0);
    let measures = tab.text("document.querySelector('.measures').textContent");
    assert!(measures.contains("insertion"), "{measures}");
    // What is saved is what `explain` writes.
    place.run(&["explain", "a scene <b>.png", "--method", "layer-cam", "--out", "maps", "--json"]).objects();
    let saved = "fetch(document.querySelector('.save a:nth-child(2)').href).then((a) => a.arrayBuffer()).then((b) => [...new Uint8Array(b)])";
    let saved: Vec<u8> = tab.eval(saved).as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8).collect();
    assert_eq!(saved, std::fs::read(place.path("maps/a scene <b>.layer-cam.npy")).unwrap());
    tab.accessible();
    tab.screenshot("serve");
    // What cannot be read is said where it was asked, and the next photo is explained all the same.
    let broken = place.file("broken.png", b"\x89PNG\r\n\x1a\nnothing");
    tab.choose_file("#photo", &broken);
    tab.click("#ask .main");
    tab.until("document.querySelector('#queue .problem')");
    let reason = tab.text("document.querySelector('#queue .problem').textContent");
    assert!(reason.contains("broken.png"), "{reason}");
    tab.choose_file("#photo", &photo);
    tab.click("#ask .main");
    tab.until("document.querySelectorAll('.photo').length === 2");
    assert_eq!(tab.problems(), Vec::<String>::new());
    assert!(place.names("home").is_empty(), "nothing is written");
}

#[test]
fn hostile_uploads_fail_alone() {
    let place = Place::new();
    let server = Server::start(&place, &["--max-upload", "200KiB", "--max-megapixels", "1"]);
    let scene = std::fs::read(place.scene("s.png", 1)).unwrap();
    // A picture of a hundred million pixels in a few kilobytes, and what is no picture at all.
    let bomb = {
        use faithful_report::image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes).write_image(&vec![0; 3000 * 3000], 3000, 3000, ExtendedColorType::L8).unwrap();
        assert!(bytes.len() < 200_000);
        bytes
    };
    for (body, words) in [
        (bomb.as_slice(), "pixels"),
        (&scene[..scene.len() / 2], "failed"),
        (b"<svg onload=alert(1)>", "failed"),
        (&[0xff; 1000], "failed"),
    ] {
        let fate = server.fate("name=../../x%22%0d%0aSet-Cookie:a.png&method=grad-cam", body);
        assert!(fate.contains(words) && fate.contains("failed"), "{fate}");
        assert!(!fate.contains("\nSet-Cookie"), "{fate}");
    }
    assert!(server.fate("method=grad-cam", &vec![0; 300_000]).contains("413"));
    for wrong in ["method=gradcam", "layer=features.99", "class=hreon", "draws=0", "draws=100000", "model=/etc/passwd"]
    {
        let answer = server.fate(wrong, &scene);
        assert!(answer.starts_with("HTTP/1.1 422"), "{wrong}: {answer}");
    }
    for path in ["/../Cargo.toml", "/jobs/../../etc/passwd/files/x", "/etc/passwd"] {
        assert_eq!(server.ask(&format!("GET {path} HTTP/1.1\nHost: HOST"), b"").0, 404);
    }
    assert_eq!(server.ask("GET / HTTP/1.1\nHost: attacker.example", b"").0, 421);
    let (_, page) = server.ask("GET / HTTP/1.1\nHost: HOST", b"");
    assert!(page.contains("frame-ancestors 'none'") && !page.to_lowercase().contains("access-control-allow"));
    assert!(
        server.fate("method=grad-cam&name=s.png", &scene).contains("\"state\":\"done\""),
        "and the next is explained"
    );
}
