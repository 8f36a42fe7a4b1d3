//! Every way in which a command is refused: its exit code, and the text that says why and what to do, as `errors.txt` lists
//! them. Photos that are none are in `bad_input.rs`.

use super::support::{Place, fixture};

/// Lines of `CODE | COMMAND | TEXT` under headings of `# SECTION: what it is`.
const TABLE: &str = include_str!("errors.txt");

/// A command line, its exit code, and what stands on stderr.
type Refusal = (&'static str, i32, &'static str);

fn section(name: &str) -> Vec<Refusal> {
    let heading = format!("# {name}:");
    let lines = TABLE.lines().skip_while(|line| !line.starts_with(&heading)).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('#')).filter(|line| !line.is_empty());
    let refusal = |line: &'static str| {
        let mut parts = line.splitn(3, " | ");
        let (code, command, text) = (parts.next()?, parts.next()?, parts.next()?);
        Some((command, code.parse().ok()?, text))
    };
    lines.map(|line| refusal(line).unwrap_or_else(|| panic!("`{line}` is not CODE | COMMAND | TEXT"))).collect()
}

/// The files that the commands name.
fn place() -> Place {
    let place = Place::new();
    place.scene("scene.png", 0);
    place.scene("photos/scene.png", 0);
    place.file("broken/a.png", b"junk");
    place.file("junk.txt", b"junk");
    place.file("trace.jsonl", b"{\"a\":1}\n");
    place.file("nothing.jsonl", b"");
    place.file("names.txt", b"a\nb\n");
    place.file("fleet.csv", b"unit,cycle,T24\na,1,0.5\na,2,x\n");
    place.file("sound.csv", b"unit,cycle,T24\na,1,0.5\na,2,0.6\n");
    for (to, from) in [("net.onnx", "script17_cnn.onnx"), ("lstm.onnx", "script14_lstm.onnx")] {
        std::fs::copy(fixture("goldens/onnx").join(from), place.path(to)).unwrap();
    }
    std::fs::create_dir(place.path("empty")).unwrap();
    place
}

/// Runs the commands of a section, a few at a time, and compares.
fn refused(place: &Place, name: &str) {
    let table = section(name);
    assert!(!table.is_empty());
    std::thread::scope(|scope| {
        for part in table.chunks(table.len().div_ceil(4)) {
            scope.spawn(move || {
                for (line, code, text) in part {
                    let words: Vec<&str> = line.split(' ').collect();
                    let ran = place.run(&words);
                    let stderr = ran.stderr();
                    assert_eq!(ran.code(), *code, "`{line}`: {stderr}");
                    assert_eq!(ran.stdout(), "", "`{line}`");
                    assert!(stderr.contains(text), "`{line}` does not say `{text}` but: {stderr}");
                    // The way out is a line, not a page; clap adds how the command is used.
                    assert!(stderr.lines().count() <= 8, "`{line}`: {stderr}");
                    let repeated = stderr.matches("(os error").count();
                    assert!(repeated <= 1, "`{line}` says it {repeated} times: {stderr}");
                }
            });
        }
    });
}

#[test]
fn explanations_that_cannot_be_made() {
    let place = place();
    refused(&place, "explain");
    assert!(place.names("parts").is_empty());
}

#[test]
fn other_commands_that_make_no_sense() {
    refused(&place(), "others");
}

#[test]
fn pages_that_cannot_be_made() {
    let place = place();
    run_of(&place);
    refused(&place, "pages");
    assert!(!place.path("page.html").exists());
}

#[test]
fn runs_that_cannot_be_made_or_read() {
    let place = place();
    run_of(&place);
    refused(&place, "runs");
    assert!(!place.path("new").exists() && !place.path("f.svg").exists());
}

#[test]
fn machines_that_cannot_be_read() {
    refused(&place(), "machines");
}

/// A finished run in `run`, and one of another seed in `other`.
fn run_of(place: &Place) {
    for (out, seed) in [("run", "0"), ("other", "1")] {
        let arguments = ["evaluate", "--images", "photos", "--methods", "grad-cam", "--metrics", "drop", "-q", "--out"];
        let ran = place.run(&[&arguments[..], &[out, "--seed", seed]].concat());
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
    }
}
