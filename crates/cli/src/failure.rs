//! How a run ends: the exit code and the one line that says why.

use crate::visible::visible;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// A run that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Complete,
    /// Some photos failed; each was reported when it did.
    Partial,
}

impl Outcome {
    pub(crate) fn of_failures(failures: usize) -> Self {
        if failures == 0 { Self::Complete } else { Self::Partial }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete => Self::SUCCESS,
            Outcome::Partial => Self::FAILURE,
        }
    }
}

/// What the user asked for does not make sense: exit code 2, as for options that clap refuses.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// An error with a way out behind it.
    pub(crate) fn with_hint(error: &dyn fmt::Display, hint: &str) -> anyhow::Error {
        Self(format!("{error}; {hint}")).into()
    }
}

impl From<String> for Usage {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What every error and note begins with.
pub(crate) const PREFIX: &str = "faithful: ";

/// What clap has to say: help, or what is wrong with the command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render().to_string();
        // Without a command, clap has help to say.
        let prefix = if text.starts_with("error:") { PREFIX } else { "" };
        // A closed stderr is no reason to fail otherwise.
        let _ = write!(io::stderr().lock(), "{prefix}{}", visible(&text));
        return ExitCode::from(2);
    }
    let _ = error.print();
    ExitCode::SUCCESS
}

/// An error with its causes in one line; what a cause repeats of the text before it stands there once.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The exit code of a run that ended early.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    use faithful_core::Error as Core;
    let is_usage = error.chain().any(|cause| {
        let core = cause.downcast_ref::<Core>();
        let named = matches!(core, Some(Core::UnknownLayer { .. } | Core::UnknownName { .. } | Core::Parameter { .. }));
        let fetched = cause.downcast_ref::<faithful_fetch::Error>();
        named || cause.is::<Usage>() || matches!(fetched, Some(faithful_fetch::Error::Parameter { .. }))
    });
    ExitCode::from(if is_usage { 2 } else { 1 })
}

/// Whether whoever read our results has left (`faithful … | head`): the end of the work, and no failure.
pub(crate) fn reader_left(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_stand_in_one_line_and_once() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let inner = faithful_core::Error::Io { path: "a.png".into(), source };
        let said = inner.to_string();
        let error = anyhow::Error::from(inner);
        assert_eq!(text(&error), said);
        assert_eq!(text(&error.context("no photo")), format!("no photo: {said}"));
    }
}
