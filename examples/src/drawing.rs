//! What the two web services share: how they are started, a photo's heat map as a PNG file, and a client that asks for it.

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use faithful_cam::{CamParameters, explain, method};
use faithful_core::{Objective, Target};
use faithful_data::{Decoding, decode_photo, preprocess};
use faithful_model::{Loading, Model};
use faithful_report::image::RgbImage;
use faithful_report::{Map, Region, Scale, Style, encode_png, overlay, rescale};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The address to listen at, the photo to check with where one was given, and the built-in model.
pub(crate) fn start(program: &str) -> Result<(String, Option<Vec<u8>>, Model)> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, photo) = match arguments.as_slice() {
        [check, photo] if check == "--check" => ("127.0.0.1:0", Some(std::fs::read(photo)?)),
        [address] => (address.as_str(), None),
        _ => bail!("usage: {program} ADDRESS, or {program} --check PHOTO"),
    };
    let source = Model::default_source().context("no model is built in")?;
    Ok((address.to_owned(), photo, Model::load(&source, &Loading::default())?))
}

/// The class, the most probable one by default, and its map drawn on the photo: a PNG file.
pub(crate) fn draw(model: &Model, class: Option<&str>, photo: &[u8]) -> Result<(String, Vec<u8>)> {
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

/// The body of the answer to one request.
pub(crate) fn ask(address: SocketAddr, verb: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    ensure!(head.starts_with("HTTP/1.1 2"), "{head}");
    Ok(answer.split_off(end + 4))
}
