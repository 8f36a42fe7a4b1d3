use std::time::Duration;

/// What a server takes from its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an upload.
    pub upload: usize,
    /// Photos that may wait, of everyone together.
    pub waiting: usize,
    /// Bytes of the photos that may wait, of everyone together.
    pub waiting_bytes: usize,
    /// Photos that may wait, of one user.
    pub waiting_each: usize,
    /// Connections at a time; one more is closed at once.
    pub connections: usize,
    /// How long a request may take to arrive, and an answer to be taken.
    pub patience: Duration,
    /// Results that are kept for their users to fetch; the oldest go first.
    pub kept: usize,
    /// Photos that are explained at a time.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload: 32 << 20,
            waiting: 64,
            waiting_bytes: 256 << 20,
            waiting_each: 8,
            connections: 128,
            patience: Duration::from_secs(30),
            kept: 64,
            workers: 1,
        }
    }
}
