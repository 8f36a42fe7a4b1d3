/// What another library says.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, by what the caller can mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another shape than the operation needs.
    #[error("{what}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The value in question.
        what: String,
        /// The shape that was needed, in words or numbers.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// The network has no layer of that name.
    #[error("no layer `{name}`{}", hint(suggestions))]
    UnknownLayer {
        /// The name that was asked for.
        name: String,
        /// Layers with similar names, best first.
        suggestions: Vec<String>,
    },
    /// A name (method, class, metric, model …) is not in its registry.
    #[error("no {kind} `{name}`{}", hint(suggestions))]
    UnknownName {
        /// What kind of thing was named.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// Similar names, best first.
        suggestions: Vec<String>,
    },
    /// A parameter is outside its range.
    #[error("{name}: {reason}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What it was and what it may be.
        reason: String,
    },
    /// NaN or infinity where only finite numbers make sense.
    #[error("{what} has values that are not finite{}", first_at(place.as_ref()))]
    NotFinite {
        /// The tensor in question.
        what: String,
        /// The first layer or index where it was seen, where known.
        place: Option<String>,
    },
    /// The model uses operations that are not implemented.
    #[error("unsupported: {}", .0.join("; "))]
    Unsupported(Vec<String>),
    /// A file or stream does not hold what it should.
    #[error("{what}: {reason}")]
    Format {
        /// The file or the part of it.
        what: String,
        /// What is wrong with it.
        reason: String,
        /// What the reader or writer of the format says, where one does.
        #[source]
        cause: Option<Cause>,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The work was called off: nobody waits for its result any more.
    #[error("cancelled: {0}")]
    Cancelled(String),
    /// Something that always holds does not: a defect of this library, whatever the input was.
    #[error("internal error, please report it: {0}")]
    Internal(String),
    /// A tensor operation failed. Backtraces, which candle takes where `RUST_BACKTRACE` is set, are inside but not in the text.
    #[error("{}", without_backtrace(.0))]
    Tensor(candle_core::Error),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error)
    }
}

fn without_backtrace(error: &candle_core::Error) -> &candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        error => error,
    }
}

/// The result of this workspace's library crates.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Shape`] for `what`.
    pub fn shape(what: impl Into<String>, expected: impl Into<String>, got: &[usize]) -> Self {
        Self::Shape { what: what.into(), expected: expected.into(), got: got.to_vec() }
    }

    /// An [`Error::Parameter`] for `name`.
    pub fn parameter(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Parameter { name, reason: reason.into() }
    }

    /// An [`Error::Format`] for `what`.
    pub fn format(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format { what: what.into(), reason: reason.into(), cause: None }
    }

    /// An [`Error::Format`] for `what`, with the words of another library's error, which is kept as its source.
    pub fn format_from(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::Format { what: what.into(), reason: cause.to_string(), cause: Some(cause) }
    }

    /// An [`Error::Format`] for `what`, with a reason of its own and another library's error as its source.
    pub fn format_because(what: impl Into<String>, reason: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Format { what: what.into(), reason: reason.into(), cause: Some(cause.into()) }
    }

    /// An [`Error::Internal`]: what should have held.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal(what.into())
    }

    /// An [`Error::UnknownName`] with suggestions from `known`.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::UnknownName { kind, name: name.into(), suggestions: suggest(name, known) }
    }
}

fn hint(suggestions: &[String]) -> String {
    match suggestions {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        many => format!("; did you mean one of `{}`?", many.join("`, `")),
    }
}

fn first_at(place: Option<&String>) -> String {
    place.map_or_else(String::new, |place| format!(", first at {place}"))
}

/// Up to three of `known` that look like `name`, best first: for "did you mean".
///
/// ```
/// assert_eq!(faithful_core::suggest("gradcam", ["grad-cam", "layer-cam", "saliency"]), ["grad-cam"]);
/// ```
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut close: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::levenshtein(&wanted, &candidate.to_lowercase());
            (distance <= 1 + wanted.len() / 4).then_some((distance, candidate))
        })
        .collect();
    close.sort_unstable();
    close.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// The entry of `table` that is called `name`: how registries are asked.
///
/// ```
/// use faithful_core::find_named;
/// let table = [("mean", 1), ("maximum", 2)];
/// assert_eq!(find_named("fusion", "mean", &table, |(name, _)| name)?.1, 1);
/// let error = find_named("fusion", "maximun", &table, |(name, _)| name).unwrap_err();
/// assert_eq!(error.to_string(), "no fusion `maximun`; did you mean `maximum`?");
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::UnknownName`] with suggestions.
pub fn find_named<'a, T>(
    kind: &'static str,
    name: &str,
    table: &'a [T],
    name_of: impl Fn(&T) -> &str,
) -> Result<&'a T> {
    let found = table.iter().find(|entry| name_of(entry) == name);
    found.ok_or_else(|| Error::unknown(kind, name, table.iter().map(name_of)))
}

/// The value that is called `name` in a table of names and values.
///
/// # Errors
/// [`Error::UnknownName`] with suggestions.
pub fn value_named<T: Copy>(kind: &'static str, name: &str, table: &[(&'static str, T)]) -> Result<T> {
    find_named(kind, name, table, |(name, _)| name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Error as Candle;
    use std::backtrace::Backtrace;

    #[test]
    fn another_librarys_error_is_the_source() {
        use std::error::Error as _;
        let io = || std::io::Error::other("disk on fire");
        let error = Error::format_from("a.png", io());
        assert_eq!(error.to_string(), "a.png: disk on fire");
        assert!(error.source().unwrap().is::<std::io::Error>());
        let error = Error::format_because("a.png", "no photo (disk on fire)", io());
        assert_eq!(error.to_string(), "a.png: no photo (disk on fire)");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        assert!(Error::format("a.png", "too short").source().is_none());
    }

    #[test]
    fn a_backtrace_is_not_part_of_the_text() {
        let inner = Box::new(Candle::Msg("shapes differ".into()));
        let error = Candle::WithBacktrace { inner, backtrace: Box::new(Backtrace::force_capture()) };
        assert!(error.to_string().len() > 100);
        assert_eq!(Error::from(error).to_string(), "shapes differ");
    }
}
