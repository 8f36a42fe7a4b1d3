//! A web service on axum that takes a photo and gives its heat map:
//!
//! ```sh
//! cargo run -p faithful-examples --bin axum_service -- 127.0.0.1:8080
//! curl --data-binary @photo.jpg 'http://127.0.0.1:8080/heat-map?class=striped%20disc' > map.png
//! ```
//!
//! The answer is the map on the photo, its header `x-class` the class. Explanations use every core, so they run one after
//! the other, away from the threads that talk to clients. With `--check PHOTO` it asks itself once for that photo's map.

mod drawing;

use anyhow::{Result, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use drawing::{ask, draw, start};
use faithful_model::Model;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The largest photo in bytes.
const LARGEST: usize = 20 << 20;

fn main() -> Result<()> {
    let (address, photo, model) = start("axum_service")?;
    let model = Arc::new(Mutex::new(model));
    let service =
        Router::new().route("/heat-map", post(heat_map)).layer(DefaultBodyLimit::max(LARGEST)).with_state(model);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        println!("http://{local}/heat-map");
        let serving = axum::serve(listener, service).into_future();
        let Some(photo) = photo else { return Ok(serving.await?) };
        let asking = tokio::task::spawn_blocking(move || ask(local, "POST", "/heat-map", &photo));
        let png = tokio::select! {
            ended = serving => bail!("the service ended: {ended:?}"),
            png = asking => png??,
        };
        ensure!(png.starts_with(b"\x89PNG"), "no PNG came back");
        println!("{} bytes of a heat map", png.len());
        Ok(())
    })
}

/// The answer to one photo: what cannot be read or is not known is the client's mistake.
async fn heat_map(
    State(model): State<Arc<Mutex<Model>>>,
    Query(asked): Query<HashMap<String, String>>,
    photo: Bytes,
) -> Response {
    let turn = model.lock_owned().await;
    let drawn = tokio::task::spawn_blocking(move || draw(&turn, asked.get("class").map(String::as_str), &photo)).await;
    match drawn {
        Ok(Ok((class, png))) => ([("content-type", "image/png".to_owned()), ("x-class", class)], png).into_response(),
        Ok(Err(error)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the explanation failed\n").into_response(),
    }
}
