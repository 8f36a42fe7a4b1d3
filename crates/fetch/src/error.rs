use std::path::Path;

/// Why something could not be had, by what the user can mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not on this machine, and the network must not be asked.
    #[error("{name} is not on this machine and may not be fetched while offline (searched {})", searched.join(", "))]
    Offline {
        /// What was asked for.
        name: String,
        /// Where it could have been.
        searched: Vec<String>,
    },
    /// No source gave it.
    #[error("{name} could not be fetched: {}", tried.join("; "))]
    Unreachable {
        /// What was asked for.
        name: String,
        /// Each address and what was wrong with it.
        tried: Vec<String>,
    },
    /// An argument or a setting is invalid.
    #[error("{what}: {reason}")]
    Parameter {
        /// The option or variable.
        what: &'static str,
        /// What it was and what it may be.
        reason: String,
    },
    /// The disk is full; what has come so far is kept, and the next try goes on behind it.
    #[error("{path}: the disk is full; what came so far is kept there, and the same command goes on with it")]
    Full {
        /// The file that grew.
        path: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The operating system's word.
        source: std::io::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// For `map_err`: the system's word about `path`.
pub(crate) fn at(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| {
        let path = path.display().to_string();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::Full { path },
            _ => Error::Io { path, source },
        }
    }
}
