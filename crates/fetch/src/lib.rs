//! Published weights and data sets, fetched once: [`CATALOGUE`] says what there is and where, a [`Store`] brings it.
//!
//! A [`Turn`] at an item belongs to one process at a time. [`Turn::fetch`] looks into the caches of the Hugging Face hub
//! and of torchvision, then asks the item's sources in order: over proxies, with time-outs, with new tries after growing
//! pauses where a server is busy, and on from where an earlier try, or a process that was killed, has stopped. A file
//! counts only when its SHA-256 is the published one; where only its first digits are published, or none, the digest is
//! written down the first time and must be the same afterwards ([`Trust`] says which it was).
//!
//! This crate knows bytes, not what is in them: `faithful-model` converts weights, the command line says what happens.
//!
//! ```
//! use faithful_fetch::{Settings, Store, item};
//! let home = std::env::temp_dir().join("faithful-example");
//! let store = Store::new(home, Settings { offline: true, ..Settings::default() });
//! let vgg16 = item("vgg16").unwrap();
//! let turn = store.turn(vgg16, &mut |event| eprintln!("{event:?}"))?;
//! let error = turn.fetch(&mut |_| {}).unwrap_err().to_string();
//! assert!(error.starts_with("vgg16 is not on this machine and may not be fetched while offline"));
//! # Ok::<(), faithful_fetch::Error>(())
//! ```

#![cfg_attr(not(feature = "network"), allow(dead_code, unused_imports))]

mod catalogue;
#[cfg(feature = "network")]
mod client;
mod digest;
#[cfg(feature = "network")]
mod download;
mod error;
mod event;
mod hub;
mod lock;
mod record;
mod settings;
mod store;

pub use catalogue::{Address, CATALOGUE, CMAPSS, Item, Kind, Source, item};
pub use digest::parse_sha256;
pub use error::{Error, Result};
pub use event::Event;
pub use settings::{Patience, Settings};
pub use store::{Fetched, Store, Trust, Turn, kept_file};
