//! One binary for all tests across crates: linking candle once keeps the suite quick.

mod architectures;
mod gradient;
mod smoke;
