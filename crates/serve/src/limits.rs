use std::time::Duration;

/// What a server takes from its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an upload.
    pub upload: usize,
    /// Photos that may wait, of everyone together.
    pub waiting: usize,
    /// Photos that may wait, of one user.
    pub waiting_each: usize,
    /// Photos that may wait, of one address, however many users it says it has.
    pub waiting_address: usize,
    /// Bytes of the photos that arrive, wait or are explained, of everyone together.
    pub photo_bytes: usize,
    /// And of one address; at least an upload.
    pub photo_bytes_address: usize,
    /// Connections at a time; one more takes the place of one that is getting nowhere, or is closed at once.
    pub connections: usize,
    /// Connections of one address at a time.
    pub connections_address: usize,
    /// How long a request's head may take to arrive.
    pub head: Duration,
    /// How long a whole request may take to arrive.
    pub request: Duration,
    /// How long an answer may take to be taken, besides the time that its bytes need at [`Limits::SLOWEST`].
    pub response: Duration,
    /// Results that are kept for their users to fetch. Of the address that has most, the oldest go first.
    pub kept: usize,
    /// Bytes of the results that are kept; the newest is kept whatever it has.
    pub kept_bytes: usize,
    /// Photos that are explained at a time.
    pub workers: usize,
}

impl Limits {
    /// Bytes a second at which an answer must be taken.
    pub const SLOWEST: usize = 256 << 10;

    /// How long an answer of so many bytes may take.
    pub(crate) fn time_for(&self, bytes: usize) -> Duration {
        self.response + Duration::from_secs((bytes / Self::SLOWEST) as u64)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload: 32 << 20,
            waiting: 64,
            waiting_each: 8,
            waiting_address: 24,
            photo_bytes: 256 << 20,
            photo_bytes_address: 96 << 20,
            connections: 128,
            connections_address: 32,
            head: Duration::from_secs(10),
            request: Duration::from_mins(1),
            response: Duration::from_secs(20),
            kept: 64,
            kept_bytes: 256 << 20,
            workers: 1,
        }
    }
}
