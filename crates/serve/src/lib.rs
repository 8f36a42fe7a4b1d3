//! A page that takes photos: drop one in, watch it being explained, see and save the result.
//!
//! [`serve`] answers a browser over HTTP/1.1 on a socket of its caller's; what is done with a photo is the caller's
//! [`Engine`], which this crate knows nothing about. Addresses are served in turn, and the users of one address in its turns
//! ([`Limits`] says how many may wait). Requests and answers have a time by which they are whole, connections, bytes that
//! arrive and results a number per address and of everyone, so that who is slow or brings much holds up nobody else.
//! Uploads are limited in bytes before they are read and in pixels by the engine before they are decoded; they
//! stay in memory: nothing of a user's is ever written to the disk. A request that fails, and an engine that panics, fail alone.
//!
//! Meant for one's own machine or a trusted network: there is no log-in and no encryption. Requests that name another
//! host than the one that is served, or come from another site's page, are refused, so that no web page can reach a
//! server on loopback behind its user's back.

mod budget;
mod connections;
mod engine;
mod http;
mod jobs;
mod limits;
mod server;
#[cfg(test)]
mod tests;

pub use engine::{Answer, Engine, File, Progress, Request};
#[doc(hidden)]
pub use http::head_is_understood;
pub use limits::Limits;
pub use server::{Site, serve};
