//! What the tests across crates share: where things are, and how close two tensors are.

use candle_core::{DType, Tensor};
use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

/// A file or folder among the fixtures that the repository ships.
pub fn fixture(path: &str) -> PathBuf {
    root().join("fixtures").join(path)
}

/// A real model or data set beside the repository (`$FAITHFUL_SHARED`, else `../shared`), which a stranger's machine
/// does not have. Says so when it is absent, so that nobody takes a skipped test for a passed one.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FAITHFUL_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let found = folder.join(path);
    if found.exists() {
        Some(found)
    } else {
        eprintln!("SKIPPED: {} is not on this machine", found.display());
        None
    }
}

/// `‖a - b‖ / ‖b‖` in f64; NaN counts as infinitely far.
pub fn relative_l2(a: &Tensor, b: &Tensor) -> candle_core::Result<f64> {
    let a = a.to_dtype(DType::F64)?;
    let b = b.to_dtype(DType::F64)?;
    let distance = (&a - &b)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    let length = b.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    let ratio = distance / length.max(1e-30);
    Ok(if ratio.is_nan() { f64::INFINITY } else { ratio })
}
