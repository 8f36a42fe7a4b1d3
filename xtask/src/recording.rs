//! A terminal recording as an animated SVG: commands are run, and what they print appears as it came.

use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// What is typed, in this order; `faithful` is the program that records.
const COMMANDS: &[&str] = &[
    "faithful predict fixtures/scenes/speckled-ring_striped-crescent.png",
    "faithful explain fixtures/scenes/speckled-ring_striped-crescent.png --class top2 --together",
    "faithful explain fixtures/scenes --method hyper-expected-grad-cam",
    "faithful compare fixtures/scenes",
];
/// Letters of a line.
const LETTERS: usize = 96;
/// Lines that are seen at a time.
const LINES: usize = 24;
/// Pixels of a letter and of a line.
const LETTER: f64 = 7.8;
const LINE: f64 = 17.0;
/// Seconds until the first command, for a typed command, for a printed line, and at the end.
const PAUSE: f64 = 0.8;
const TYPING: f64 = 1.6;
const PRINTING: f64 = 0.12;
const END: f64 = 5.0;

/// A line of the recording, and when it appears.
struct Shown {
    text: String,
    typed: bool,
    at: f64,
}

/// Runs the commands with `faithful` in the workspace's root and writes the recording.
pub(crate) fn record(faithful: &Path, target: &Path) -> Result<()> {
    let mut lines = Vec::new();
    let mut now = PAUSE;
    for command in COMMANDS {
        lines.push(Shown { text: format!("$ {command}"), typed: true, at: now });
        now += TYPING;
        for text in printed(faithful, command)? {
            lines.push(Shown { text, typed: false, at: now });
            now += PRINTING;
        }
        now += PAUSE;
    }
    std::fs::write(target, drawn(&lines, now + END)).with_context(|| format!("cannot write `{}`", target.display()))
}

/// What a command prints, its results and then its notes, in a terminal of [`LETTERS`] columns, which util-linux's `script` gives.
fn printed(faithful: &Path, command: &str) -> Result<Vec<String>> {
    let work = crate::shell::root().join("target/recording");
    std::fs::create_dir_all(&work)?;
    let scenes = crate::shell::root().join("fixtures");
    let link = work.join("fixtures");
    if !link.exists() {
        std::os::unix::fs::symlink(&scenes, &link).with_context(|| format!("cannot make `{}`", link.display()))?;
    }
    let words = command.strip_prefix("faithful ").context("a command of another program")?;
    let line = format!("stty cols {LETTERS} rows {LINES}; '{}' {words} 2> notes", faithful.display());
    let done = Command::new("script").current_dir(&work).args(["-qec", &line, "/dev/null"]).output();
    let done = done.context("could not start `script`")?;
    let notes = std::fs::read_to_string(work.join("notes"))?;
    ensure!(done.status.success(), "`{command}` failed: {notes}");
    let results = String::from_utf8_lossy(&done.stdout).into_owned();
    Ok((results + &notes).lines().flat_map(|line| wrapped(line.trim_end())).collect())
}

/// A line as a terminal shows it that is too narrow for it.
fn wrapped(line: &str) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    if letters.is_empty() {
        vec![String::new()]
    } else {
        letters.chunks(LETTERS).map(|part| part.iter().collect()).collect()
    }
}

fn drawn(lines: &[Shown], seconds: f64) -> String {
    let (width, height) = (LETTERS as f64 * LETTER + 24.0, LINES as f64 * LINE + 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" \
         aria-label=\"A terminal: faithful predicts, explains and compares drawn scenes\">\n<style>\n\
         text {{ font: 12.5px ui-monospace, Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre; }}\n\
         .typed {{ fill: #a3be8c; }}\n.line {{ opacity: 0; }}\n\
         @media (prefers-reduced-motion: reduce) {{ * {{ animation-duration: 1ms !important; animation-iteration-count: 1 !important; }} }}\n"
    );
    for (place, line) in lines.iter().enumerate() {
        let from = line.at / seconds * 100.0;
        writeln!(
            svg,
            "@keyframes l{place} {{ 0%, {from:.2}% {{ opacity: 0 }} {:.2}%, 100% {{ opacity: 1 }} }} \
             #l{place} {{ animation: l{place} {seconds:.1}s linear infinite both; }}",
            from + 0.01
        )
        .expect("a text grows");
    }
    svg += &scrolling(lines, seconds);
    svg += "</style>\n";
    write!(svg, "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#242933\"/>\n<svg x=\"12\" y=\"16\" width=\"{:.0}\" height=\"{:.0}\">\n<g id=\"all\">\n",
        LETTERS as f64 * LETTER, LINES as f64 * LINE + 8.0)
        .expect("a text grows");
    for (place, line) in lines.iter().enumerate() {
        let class = if line.typed { "line typed" } else { "line" };
        let y = (place + 1) as f64 * LINE;
        writeln!(svg, "<text id=\"l{place}\" class=\"{class}\" x=\"0\" y=\"{y:.0}\">{}</text>", escaped(&line.text))
            .expect("a text grows");
    }
    svg + "</g>\n</svg>\n</svg>\n"
}

/// Moves the lines up once there are more than fit.
fn scrolling(lines: &[Shown], seconds: f64) -> String {
    if lines.len() <= LINES {
        return String::new();
    }
    let mut frames = String::from("@keyframes scroll { 0% { transform: translateY(0) }");
    for (place, line) in lines.iter().enumerate().skip(LINES) {
        let up = (place + 1 - LINES) as f64 * LINE;
        write!(frames, " {:.2}% {{ transform: translateY(-{up:.0}px) }}", line.at / seconds * 100.0)
            .expect("a text grows");
    }
    let up = (lines.len() - LINES) as f64 * LINE;
    write!(frames, " 100% {{ transform: translateY(-{up:.0}px) }} }}\n#all {{ animation: scroll {seconds:.1}s step-end infinite both; }}\n")
        .expect("a text grows");
    frames
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_appears_once_and_what_does_not_fit_scrolls() {
        let line = |place: usize| Shown { text: format!("a <{place}>"), typed: place == 0, at: place as f64 };
        let few: Vec<Shown> = (0..3).map(line).collect();
        let svg = drawn(&few, 10.0);
        assert!(svg.contains("a &lt;2&gt;</text>") && svg.matches("<text").count() == 3 && !svg.contains("scroll"));
        let many: Vec<Shown> = (0..LINES + 2).map(line).collect();
        assert!(drawn(&many, 40.0).contains("100% { transform: translateY(-34px) }"));
    }
}
