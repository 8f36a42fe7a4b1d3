//! Where words go: results to stdout, everything else to stderr.

use crate::failure;
use crate::progress::Progress;
use crate::visible::{visible, visible_json};
use faithful_core::Watch;
use faithful_explain::Listener;
use faithful_report::image::{DynamicImage, RgbImage};
use serde::Serialize;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The terminal, or what stands in for it.
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    width: Option<usize>,
    progress: Mutex<Progress>,
    /// Whether the work is worth its end where nobody reads the results any more: it writes files.
    writes_files: AtomicBool,
    reader_left: AtomicBool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self {
            json,
            quiet,
            width: width.filter(|width| *width > 0),
            progress: Mutex::default(),
            writes_files: AtomicBool::new(false),
            reader_left: AtomicBool::new(false),
        }
    }

    /// The command writes files: it goes on to its end where whoever reads its results leaves (`faithful … | head -1`).
    pub(crate) fn writes_files(&self) {
        self.writes_files.store(true, Ordering::Relaxed);
    }

    /// A line of the results for people; nothing where results are JSON.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { self.print(&visible(text)) }
    }

    /// A line of the results for programs; nothing where results are a table.
    pub(crate) fn object(&self, object: &impl Serialize) -> io::Result<()> {
        if self.json { self.print(&visible_json(&serde_json::to_string(object)?)) } else { Ok(()) }
    }

    /// Text that is the result in any form.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        self.print(&visible(text))
    }

    /// Whether results are for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// How many letters fit into a line; nothing where results go to a file or another program.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Draws a picture in the terminal, where one can see it.
    #[cfg(not(feature = "terminal"))]
    pub(crate) fn show(&self, _: &RgbImage) {
        self.note("this program is built without the feature `terminal`: it shows no pictures");
    }

    /// Draws a picture in the terminal, where one can see it.
    #[cfg(feature = "terminal")]
    pub(crate) fn show(&self, picture: &RgbImage) {
        let Some(width) = self.width().filter(|_| !self.json) else { return };
        // Sixel has 256 colours; it is for terminals that know nothing better.
        let better = || viuer::is_iterm_supported() || viuer::get_kitty_support() != viuer::KittySupport::None;
        let config = viuer::Config {
            absolute_offset: false,
            use_sixel: !self.progress().suspend(better),
            // Half a line per pixel where the terminal has only letters.
            width: Some(width.min(64) as u32),
            ..viuer::Config::default()
        };
        let picture = DynamicImage::ImageRgb8(picture.clone());
        let shown = self.progress().suspend(|| viuer::print(&picture, &config).map(|_| ()));
        if let Err(error) = shown {
            self.note(&format!("the picture cannot be shown here: {error}"));
        }
    }

    /// Something that went well but should be known.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain("note", text);
        }
    }

    /// Something that failed.
    pub(crate) fn error(&self, text: &str) {
        self.complain("error", text);
    }

    /// Shows a progress bar of `length` steps, if stderr is a terminal. Networks that are [watched](faithful_core::Watched) by
    /// this output move it within a step too.
    pub(crate) fn start(&self, length: usize, word: &str) {
        if !self.quiet && length > 0 {
            *self.progress() = Progress::start(length, word);
        }
    }

    /// Shows a progress bar of so many bytes, or of nobody knows how many, if stderr is a terminal.
    pub(crate) fn start_bytes(&self, total: Option<u64>) {
        if !self.quiet {
            *self.progress() = Progress::start_bytes(total);
        }
    }

    /// What is known so far, below the progress bar.
    pub(crate) fn say(&self, text: &str) {
        self.progress().say(&visible(text));
    }

    /// One step is done.
    pub(crate) fn advance(&self) {
        self.progress().advance_by(1);
    }

    /// So many steps are done.
    pub(crate) fn advance_to(&self, steps: usize) {
        self.progress().advance_to(steps);
    }

    /// The progress bar goes away.
    pub(crate) fn finish(&self) {
        self.progress().finish();
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, text: &str) -> io::Result<()> {
        if self.reader_left.load(Ordering::Relaxed) {
            return Ok(());
        }
        let printed = self.progress().suspend(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{text}")?;
            stdout.flush()
        });
        match printed {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.writes_files.load(Ordering::Relaxed) => {
                self.reader_left.store(true, Ordering::Relaxed);
                self.note("nobody reads the results any more; the files are written all the same");
                Ok(())
            }
            printed => printed,
        }
    }

    fn complain(&self, kind: &str, text: &str) {
        // One line, whatever a library put into its message. A closed stderr is no reason to stop.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.progress().suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{}{kind}: {}", failure::PREFIX, visible(&text));
        });
    }
}

impl Listener for Output {
    fn note(&self, text: &str) {
        Self::note(self, text);
    }
}

impl Watch for Output {
    fn announce(&self, work: u64) {
        self.progress().announce(work);
    }

    fn advance(&self, work: u64) -> faithful_core::Result<()> {
        self.progress().work(work);
        Ok(())
    }
}
