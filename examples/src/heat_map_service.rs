//! A web service that takes a photo and gives its heat map, on `faithful-serve`, which queues photos and limits them:
//!
//! ```sh
//! cargo run -p faithful-examples --bin heat_map_service -- 127.0.0.1:8080
//! curl --data-binary @photo.jpg 'http://127.0.0.1:8080/jobs?class=striped%20disc'     # {"id": "…"}
//! curl http://127.0.0.1:8080/jobs/ID                                                  # {"class": "striped disc", …}
//! curl http://127.0.0.1:8080/jobs/ID/files/heat-map.png > map.png
//! ```
//!
//! With `--check PHOTO` it asks itself once for that photo's map, and ends. `faithful serve` has a page besides, and
//! `axum_service` is the same on axum.

mod drawing;

use anyhow::{Context, Result, bail};
use drawing::{ask, draw, start};
use faithful_model::Model;
use faithful_serve::{Answer, Engine, File, Limits, Progress, Request, Site, serve};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
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
    let (address, photo, model) = start("heat_map_service")?;
    let engine = HeatMaps(model);
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
