//! What a person sees in a terminal: pictures and progress. The terminal is `script`'s, which every Linux has.

use super::support::{Place, fixture, name};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// What the binary writes to a terminal of 80 columns that answers the question for its abilities with `abilities`.
fn seen(place: &Place, arguments: &[&str], abilities: &str) -> Option<String> {
    let program = place.command(arguments);
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let quoted: Vec<String> =
        words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"))).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty cols 80 rows 24; exec {}", quoted.join(" ")), "/dev/null"]);
    script.current_dir(place.path("")).env("TERM", "xterm-256color").env("FAITHFUL_HOME", place.path("home"));
    for known in ["TERM_PROGRAM", "LC_TERMINAL", "FAITHFUL_MODEL", "NO_COLOR"] {
        script.env_remove(known);
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Other systems have another `script`.
    let Some(mut child) = script.spawn().ok().filter(|_| cfg!(target_os = "linux")) else {
        eprintln!("SKIPPED: there is no `script` here that makes a terminal");
        return None;
    };
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut all, mut buffer, mut answered) = (Vec::new(), [0; 4096], 0);
    while let Ok(count) = screen.read(&mut buffer) {
        if count == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..count]);
        let asked = all.windows(3).filter(|bytes| *bytes == b"\x1b[c").count();
        for _ in answered..asked {
            write!(keyboard, "\x1b[?{abilities}c").unwrap();
            keyboard.flush().unwrap();
        }
        answered = asked;
    }
    let ended = child.wait().unwrap();
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(ended.success(), "{text}");
    Some(text)
}

#[test]
fn pictures_are_drawn_as_the_terminal_can() {
    let place = Place::new();
    let scene = fixture("scenes/dotted-star.png");
    let arguments = ["explain", name(&scene), "--method", "grad-cam", "--show"];
    let Some(text) = seen(&place, &arguments, "62;4;22") else { return };
    let sixel = text.split("\x1bP").nth(1).and_then(|rest| rest.split("\x1b\\").next());
    let sixel = sixel.unwrap_or_else(|| panic!("no sixel picture: {text}"));
    assert!(sixel.contains('q') && sixel.contains('#') && sixel.len() > 1000, "{sixel}");
    assert!(!text.contains('▄'), "one picture is enough");
    // A terminal that has letters alone gets half a line per pixel.
    let text = seen(&place, &arguments, "62;22").unwrap();
    assert!(text.contains('▄') && !text.contains("\x1bP"), "{text}");
}

#[test]
fn progress_goes_on_within_one_long_explanation() {
    let place = Place::new();
    let scenes = ["dotted-star.png", "zigzag-heart.png"].map(|file| fixture("scenes").join(file));
    let [first, second] = [0, 1].map(|i| name(&scenes[i]));
    let within = |arguments: &[&str]| {
        let text = seen(&place, arguments, "62;22")?;
        // Before the first of two steps is done, the time that is left is known.
        let found = text.split("0/2 ").skip(1).any(|rest| rest[..rest.len().min(60)].contains("left)"));
        assert!(found, "{text}");
        Some(())
    };
    let long = ["--method", "rise", "--draws", "600"];
    if within(&[&["explain", first, second], &long[..]].concat()).is_none() {
        return;
    }
    within(&["compare", first, second, "--methods", "integrated-gradients", "--draws", "1000", "--out", "page.html"]);
    within(&["sanity", first, "--methods", "integrated-gradients", "--draws", "1000", "--layers", "1"]);
}
