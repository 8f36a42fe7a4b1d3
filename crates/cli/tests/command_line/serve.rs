//! `faithful serve` as its users meet it: in a browser, and by requests that no browser would make.

use super::browser::Tab;
use super::support::{Place, fixture, name};
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
fn model_method_class_and_layer_are_chosen_in_the_page() {
    let place = Place::new();
    let photo = place.scene("scene.png", 3);
    // The built-in network under other names for its classes, and one that is no classifier.
    std::fs::copy(fixture("scenes-vgg.safetensors"), place.path("other.safetensors")).unwrap();
    let side = std::fs::read_to_string(fixture("scenes-vgg.json")).unwrap().replace("dotted star", "starfish");
    place.file("other.json", side.as_bytes());
    let other = "scenes-vgg:other.safetensors";
    let regression = fixture("goldens/gradient/regression.onnx");
    let models = ["--model", "scenes-vgg", "--model", other, "--model", name(&regression)];
    let server = Server::start(&place, &models);
    let Some(mut tab) = Tab::new() else { return };
    tab.allow(&server.url);
    tab.open(&server.url);
    let values = |tab: &mut Tab, of: &str| {
        let found = tab.eval(&format!("[...document.querySelectorAll('{of} option')].map((o) => o.value)"));
        found.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&mut tab, "#model"), ["scenes-vgg", other, "regression"]);
    let layers = values(&mut tab, "#layer");
    assert!(layers.contains(&"features.9".to_owned()), "{layers:?}");
    assert_eq!(tab.text("document.getElementById('layer').value"), "features.14", "the model's own target");
    assert!(values(&mut tab, "#labels").contains(&"dotted star".to_owned()));
    tab.set("#model", "regression");
    assert_ne!(values(&mut tab, "#layer"), layers);
    tab.set("#model", other);
    assert_eq!(values(&mut tab, "#layer"), layers);
    assert!(values(&mut tab, "#labels").contains(&"starfish".to_owned()));
    assert!(values(&mut tab, "#method").len() > 30);

    tab.set("#method", "layer-cam");
    tab.set("#class", "starfish");
    tab.set("#layer", "features.9");
    tab.choose_file("#photo", &photo);
    tab.click("#ask .main");
    let map = ".photo .map:nth-child(2) canvas";
    tab.until(&format!("document.querySelector('{map}')?.dataset.state === 'drawn'"));
    let words = tab.text(&format!("document.querySelector('{map}').getAttribute('aria-label')"));
    assert!(words.contains("layer-cam") && words.contains("starfish"), "{words}");
    let explain = ["explain", "scene.png", "--method", "layer-cam", "--out", "maps", "--model", other];
    let explained = [&explain[..], &["--class", "starfish", "--layer", "features.9", "--json"]].concat();
    let map = place.run(&explained).objects()[0]["files"]["map"].as_str().unwrap().to_owned();
    let saved = "fetch(document.querySelector('.save a:nth-child(2)').href).then((a) => a.arrayBuffer()).then((b) => [...new Uint8Array(b)])";
    let saved: Vec<u8> = tab.eval(saved).as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8).collect();
    assert_eq!(saved, std::fs::read(place.path(&map)).unwrap());

    // Several methods at once, what was chosen is seen, and another of the predictions is explained by a press on it.
    assert_eq!(tab.number("document.querySelectorAll('#previews img').length"), 1.0);
    tab.eval("(document.querySelector('#others').open = true)");
    tab.click("#choices input[value='grad-cam']");
    tab.set("#class", "");
    tab.click("#ask .main");
    tab.until("document.querySelectorAll('.photo').length === 2");
    let names = "[...document.querySelectorAll('.photo:first-child figcaption span:first-child')].map((s) => s.textContent).join()";
    assert_eq!(tab.text(names), "Photo,layer-cam,grad-cam");
    tab.click(".photo:first-child .guesses button");
    tab.until("document.querySelectorAll('.photo').length === 3");
    assert_eq!(tab.number("document.querySelectorAll('#history li').length"), 3.0);
    tab.click("#network");
    tab.until("document.querySelector('#layers').open");
    tab.click("#layers [aria-label^='features.4,']");
    tab.click("#layers .told .main");
    assert_eq!(tab.text("document.getElementById('layer').value"), "features.4");
    tab.click("#choices input[value='grad-cam']");

    // The other network is asked in the same way, and what it has not is said.
    tab.set("#model", "regression");
    tab.set("#class", "");
    tab.choose_file("#photo", &photo);
    tab.click("#ask .main");
    tab.until("document.querySelectorAll('.photo').length === 4");
    tab.set("#class", "starfish");
    tab.choose_file("#photo", &photo);
    tab.click("#ask .main");
    tab.until("document.querySelector('#queue .problem')");
    assert!(tab.text("document.querySelector('#queue .problem').textContent").contains("starfish"));
    // The refused question is in the browser's console too: it is the server's answer.
    let problems: Vec<String> = tab.problems().into_iter().filter(|problem| !problem.contains("422")).collect();
    assert_eq!(problems, Vec::<String>::new());
    place.run(&["serve", "--model", "scenes-vgg", "--model", "scenes-vgg"]).refused(2, &["there already"]);
}

#[test]
fn several_users_take_turns_and_see_how_far_their_photos_are() {
    let place = Place::new();
    let server = Server::start(&place, &["--model", "scenes-224"]);
    let scene = std::fs::read(place.scene("s.png", 1)).unwrap();
    let send = |client: &str, draws: &str| {
        let head = format!("POST /jobs?client={client}&method=rise&draws={draws} HTTP/1.1\nHost: HOST");
        let (status, answer) = server.ask(&head, &scene);
        assert_eq!(status, 202, "{answer}");
        answer.split("\"id\":\"").nth(1).unwrap()[..32].to_owned()
    };
    // One user brings four photos, then another brings one, while the first of all is explained.
    let first: Vec<String> = ["500"; 4].map(|draws| send("first", draws)).to_vec();
    let second = send("second", "500");
    let began = std::time::Instant::now();
    let watch = |id: &String| {
        let events = server.ask(&format!("GET /jobs/{id}/events HTTP/1.1\nHost: HOST"), b"").1;
        (began.elapsed(), events)
    };
    let (mine, other) = std::thread::scope(|scope| {
        let mine: Vec<_> = first.iter().map(|id| scope.spawn(move || watch(id))).collect();
        let other = scope.spawn(|| watch(&second));
        (mine.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>(), other.join().unwrap())
    });
    for (_, events) in mine.iter().chain([&other]) {
        assert!(events.contains("\"state\":\"done\""), "{events}");
    }
    assert!(mine[0].0 < other.0 && other.0 < mine[2].0 && mine[2].0 < mine[3].0, "{mine:?} {other:?}");
    // The last had to wait, then heard how much there is to do and how much was done.
    let events = &mine[3].1;
    assert!(events.contains("\"state\":\"waiting\""), "{events}");
    let running: Vec<Value> = events
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter(|event: &Value| event["state"] == "running" && event["all"].as_u64() > Some(0))
        .collect();
    assert!(running.iter().any(|event| event["done"].as_u64() < event["all"].as_u64()), "{events}");
    assert!(running.iter().all(|event| event["all"] == 500), "{events}");
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
    let seven = format!("method={}", ["grad-cam"; 7].join(","));
    for wrong in [
        seven.as_str(),
        "method=gradcam",
        "layer=features.99",
        "class=hreon",
        "draws=0",
        "draws=100000",
        "model=/etc/passwd",
    ] {
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
