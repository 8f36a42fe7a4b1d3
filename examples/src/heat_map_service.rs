//! A web service that takes a photo and gives its heat map, on `faithful-serve`, which queues photos and limits them:
//!
//! ```sh
//! cargo run -p faithful-examples --bin heat_map_service -- 127.0.0.1:8080
//! curl --data-binary @photo.jpg 'http://127.0.0.1:8080/jobs?class=striped%20disc'     # {"id": "…"}
//! curl http://127.0.0.1:8080/jobs/ID                                                  # {"class": "striped disc", …}
//! curl http://127.0.0.1:8080/jobs/ID/files/heat-map.png > map.png
//! ```
//!
//! With `--check PHOTO` it asks itself once for that photo's map, and ends. `faithful serve` has a page besides.

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use faithful_cam::{CamParameters, explain, method};
use faithful_core::{Objective, Target};
use faithful_data::{Decoding, decode_photo, preprocess};
use faithful_model::{Loading, Model};
use faithful_report::image::RgbImage;
use faithful_report::{Map, Region, Scale, Style, encode_png, overlay, rescale};
use faithful_serve::{Answer, Engine, File, Limits, Progress, Request, Site, serve};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Explains photos by one network. It may be asked from several threads.
struct HeatMaps(Model);

impl Engine for HeatMaps {
    fn check(&self, request: &Request) -> Result<(), String> {
        match request.get("class").map(|class| self.0.labels.find(class)) {
            Some(Err(error)) => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn answer(&self, photo: &[u8], request: &Request, _: &Progress) -> Result<Answer, String> {
        let (class, png) = draw(&self.0, request.get("class"), photo).map_err(|error| format!("{error:#}"))?;
        let file = File { name: "heat-map.png".into(), media: "image/png", bytes: png };
        Ok(Answer { shown: json!({ "class": class, "file": "files/heat-map.png" }), files: vec![file] })
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, photo) = match arguments.as_slice() {
        [check, photo] if check == "--check" => ("127.0.0.1:0", Some(std::fs::read(photo)?)),
        [address] => (address.as_str(), None),
        _ => bail!("usage: heat_map_service ADDRESS, or heat_map_service --check PHOTO"),
    };
    let source = Model::default_source().context("no model is built in")?;
    let engine = HeatMaps(Model::load(&source, &Loading::default())?);
    let listener = TcpListener::bind(address)?;
    let local = listener.local_addr()?;
    println!("http://{local}/");
    let (site, stop) = (Site::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let check = photo.map(|photo| {
            let stop = &stop;
            scope.spawn(move || {
                let found = heat_map(local, &photo);
                stop.store(true, Ordering::Relaxed);
                found
            })
        });
        serve(&listener, &site, &engine, Limits::default(), &stop)?;
        if let Some(check) = check {
            let png = check.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
            println!("{} bytes of a heat map", png.len());
        }
        Ok(())
    })
}

/// The class, the most probable one by default, and its map drawn on the photo: a PNG file.
fn draw(model: &Model, class: Option<&str>, photo: &[u8]) -> Result<(String, Vec<u8>)> {
    let photo = decode_photo("the photo", photo, &Decoding { pixels: 50_000_000, ..Decoding::default() })?;
    let seen = preprocess(&photo, model.photo_preprocessing()?, &Device::Cpu)?;
    let class = if let Some(name) = class {
        model.labels.find(name)?
    } else {
        let any = Target::Output(0);
        let logits: Vec<f32> = Objective::new(&model.graph, &any).outputs(&seen.tensor)?.squeeze(0)?.to_vec1()?;
        (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).context("no classes")?
    };
    let target = Target::Output(class);
    let objective = Objective::new(&model.graph, &target);
    let layer = model.target.context("the network has no layer with places")?;
    let found = explain(method("expected-grad-cam")?, &objective, &seen.tensor, &[layer], &CamParameters::default())?;

    let map = rescale(&Map::from_tensor(&found.map)?, &Scale::default())?;
    let (width, height) = (photo.width as u32, photo.height as u32);
    let picture = RgbImage::from_raw(width, height, photo.pixels).context("a photo has three bytes per pixel")?;
    let place = seen.placement;
    let region = Region { left: place.left, top: place.top, width: place.width, height: place.height };
    Ok((model.labels.name(class), encode_png(&overlay(&picture, &map, region, &Style::default())?)?))
}

/// What a client does: hands in the photo, waits, and fetches the map.
fn heat_map(address: SocketAddr, photo: &[u8]) -> Result<Vec<u8>> {
    let job: Value = serde_json::from_slice(&ask(address, "POST", "/jobs", photo)?)?;
    let job = format!("/jobs/{}", job["id"].as_str().context("no number of a job")?);
    for _ in 0..600 {
        if ask(address, "GET", &job, &[]).is_ok() {
            return ask(address, "GET", &format!("{job}/files/heat-map.png"), &[]);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("no heat map within a minute")
}

/// The body of the answer to one request.
fn ask(address: SocketAddr, verb: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    ensure!(head.starts_with("HTTP/1.1 2"), "{head}");
    Ok(answer.split_off(end + 4))
}
