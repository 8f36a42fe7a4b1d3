use std::time::Duration;

/// What happens while something is fetched, for whoever shows it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process is at the same thing; this one waits for it.
    Waiting,
    /// A file of another program's, or of an earlier try, is used.
    Found(&'a str),
    /// An address is asked.
    Asking(&'a str),
    /// A body begins.
    Started {
        /// How many bytes were there already.
        from: u64,
        /// How long the file is, where the server says it.
        total: Option<u64>,
    },
    /// So many bytes of the file are there.
    Received(u64),
    /// It did not work; it is tried again.
    Again {
        /// What was wrong.
        reason: &'a str,
        /// After how long.
        pause: Duration,
    },
    /// A source was given up, and the next is tried.
    Next(&'a str),
    /// The digest is computed.
    Checking,
}
