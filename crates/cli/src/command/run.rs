//! What `predict` and `explain` share: one photo after the other, none stops the others.

use crate::failure::Outcome;
use crate::output::Output;
use anyhow::{Result, bail};
use faithful_explain::inputs::{self, Input, Inputs};
use serde_json::json;
use std::io;
use std::path::Path;

/// Does `work` for every photo. What fails is reported on stderr and, where results are JSON, as an object with
/// `error`; only a reader that has gone away ends the run.
pub(crate) fn for_each_photo(
    inputs: &Inputs,
    output: &Output,
    word: &str,
    work: impl FnMut(&Input) -> Result<()>,
) -> Result<Outcome> {
    for_each_photo_in_steps(inputs, output, word, 1, work)
}

/// As [`for_each_photo`], where a photo takes `steps` steps of the progress bar; `work` advances it between them.
pub(crate) fn for_each_photo_in_steps(
    inputs: &Inputs,
    output: &Output,
    word: &str,
    steps: usize,
    mut work: impl FnMut(&Input) -> Result<()>,
) -> Result<Outcome> {
    let mut failures = 0;
    for (path, reason) in &inputs.failures {
        report(output, path, &format!("{}: {reason}", path.display()))?;
        failures += 1;
    }
    if inputs.photos.is_empty() && inputs.failures.is_empty() {
        bail!("no photos");
    }
    if inputs.results > 0 {
        output.note(&left_out(inputs.results));
    }
    output.start(inputs.photos.len() * steps, word);
    for (place, input) in inputs.photos.iter().enumerate() {
        if let Err(error) = work(input) {
            if crate::failure::reader_left(&error) {
                output.finish();
                // The photo's own results may have been lost, too.
                let left = inputs.photos.len() - place;
                output.note(&format!(
                    "nobody reads the results any more: {left} of {} photos are not done",
                    place + left
                ));
                return Ok(if left > 1 { Outcome::Partial } else { Outcome::of_failures(failures) });
            }
            failures += 1;
            let text = crate::failure::text(&error);
            let path = input.path.display().to_string();
            // Errors of reading the photo begin with its path already.
            let text = if text.starts_with(&path) { text } else { format!("{path}: {text}") };
            report(output, &input.path, &text)?;
        }
        output.advance_to((place + 1) * steps);
    }
    output.finish();
    let all = inputs.photos.len() + inputs.failures.len();
    if failures > 0 && all > 1 {
        output.note(&format!("{failures} of {all} failed"));
    }
    Ok(Outcome::of_failures(failures))
}

/// What is said of pictures that are results of earlier runs.
pub(crate) fn left_out(results: usize) -> String {
    let (pictures, are) = if results == 1 { ("picture", "is") } else { ("pictures", "are") };
    format!("{results} {pictures} that `explain` made {are} left out: a map lies beside each")
}

fn report(output: &Output, path: &Path, text: &str) -> io::Result<()> {
    output.error(text);
    output.object(&json!({ "image": path.display().to_string(), "error": text }))
}

/// The photos that were named.
pub(crate) fn photos(paths: &[std::path::PathBuf]) -> Inputs {
    inputs::collect(paths)
}

/// How wide a column for the photos' names must be.
pub(crate) fn name_width(inputs: &Inputs) -> usize {
    let widths = inputs.photos.iter().map(|input| input.path.display().to_string().chars().count());
    widths.max().unwrap_or(0).min(80)
}
