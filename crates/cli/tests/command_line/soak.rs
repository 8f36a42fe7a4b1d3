//! One process explains many photos: its memory stays what it was after the first ones.

use super::support::Place;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Kibibytes of a process that are in memory.
fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `cargo xtask soak` does it 2,000 times with all kinds of methods.
#[test]
#[cfg(target_os = "linux")]
fn fifty_photos_take_no_more_memory_than_ten() {
    let place = Place::new();
    for index in 0..50 {
        place.scene(&format!("photos/{index}.png"), index);
    }
    let arguments = ["explain", "photos", "--method", "expected-grad-cam", "--draws", "4", "--json", "--quiet"];
    let mut child = place.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut early = None;
    let mut late = None;
    let mut count = 0;
    for line in lines {
        assert!(line.unwrap().contains("\"score\""));
        count += 1;
        // The process may end behind its last line: what is known of the one before counts.
        if let Some(memory) = resident(child.id()) {
            if count == 10 {
                early = Some(memory);
            }
            late = Some(memory);
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(count, 50);
    let (early, late) = (early.unwrap(), late.unwrap());
    // Forty photos kept, or what was computed of them, would be hundreds of megabytes.
    assert!(late < early + 24 * 1024, "{early} KiB after ten photos, {late} KiB in the end");
}
