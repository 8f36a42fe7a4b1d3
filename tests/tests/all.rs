//! One binary for all tests across crates: linking candle once keeps the suite quick.

mod any_bytes;
mod architectures;
mod attention;
mod cam_laws;
mod cam_networks;
mod cam_parity;
mod cam_passes;
mod cam_runs;
mod concurrency;
mod gradient;
mod hyper;
mod hyper_reference;
mod hyper_scenes;
mod layers;
mod masking;
mod networks;
mod progress;
mod rivals;
mod rul;
mod sanity;
mod smoke;
mod transformers;
