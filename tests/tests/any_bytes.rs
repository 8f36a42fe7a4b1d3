//! Everything that is read from files and sockets, with damaged seeds: the functions that `fuzz/` runs for hours, for a
//! few seconds in every run of the tests.

use faithful_core::Stream;
use faithful_tests::{fixture, root};
use rand::Rng;
use std::path::PathBuf;

// A library of its own there, a module here.
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/lib.rs"]
mod kinds;

/// How many changed copies of its seeds each kind gets at least, unless `FAITHFUL_COPIES` says otherwise.
const COPIES: usize = 300;

/// The files that a kind starts from: what is in its folder, and fixtures that serve.
fn seeds(kind: &str) -> Vec<PathBuf> {
    let more = match kind {
        "onnx" => Some((fixture("goldens/onnx"), "onnx")),
        "photo" => Some((fixture("goldens/data/photos"), "")),
        _ => None,
    };
    let folder = root().join("fuzz/seeds").join(kind);
    let in_folder = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let mut found = in_folder(folder);
    if let Some((folder, ending)) = more {
        let fits = |path: &PathBuf| ending.is_empty() || path.extension().is_some_and(|own| own == ending);
        found.extend(in_folder(folder).into_iter().filter(fits));
    }
    found.sort();
    found
}

/// A copy with a few bytes flipped, lost, repeated or replaced by those that formats trip over.
fn changed(seed: &[u8], generator: &mut impl Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..generator.random_range(1..6) {
        if bytes.is_empty() {
            break;
        }
        // Headers lie in front, and directories at the end.
        let at = match generator.random_range(0..3) {
            0 => generator.random_range(0..bytes.len()),
            1 => generator.random_range(0..bytes.len().min(128)),
            _ => bytes.len() - 1 - generator.random_range(0..bytes.len().min(512)),
        };
        let until = (at + generator.random_range(1..17)).min(bytes.len());
        match generator.random_range(0..6) {
            0 => bytes[at] ^= 1 << generator.random_range(0..8),
            1 => bytes[at..until].fill([0x00, 0x7f, 0x80, 0xff, b'0', b'9', b'-', b'"'][generator.random_range(0..8)]),
            2 => drop(bytes.drain(at..until)),
            3 => {
                let part = bytes[at..until].to_vec();
                let place = generator.random_range(0..=bytes.len());
                bytes.splice(place..place, part);
            }
            4 => bytes.truncate(at),
            _ => bytes[at..until].iter_mut().for_each(|byte| *byte = generator.random()),
        }
    }
    bytes
}

#[test]
fn nothing_that_is_read_panics() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let wanted = number("FAITHFUL_COPIES").unwrap_or(COPIES);
    for (kind, read) in kinds::KINDS {
        let seeds = seeds(kind);
        assert!(!seeds.is_empty(), "no seeds for {kind}");
        let stream = Stream::new(1, kind);
        let mut copies = 0;
        for path in &seeds {
            read(&std::fs::read(path).unwrap());
        }
        while copies < wanted {
            for path in &seeds {
                let seed = std::fs::read(path).unwrap();
                let bytes = changed(&seed, &mut stream.draw(copies));
                let outcome = std::panic::catch_unwind(|| read(&bytes));
                assert!(outcome.is_ok(), "{kind}: copy {copies}, of {}", path.display());
                copies += 1;
            }
        }
    }
}
