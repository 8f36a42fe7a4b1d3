use crate::error::{Result, at};
use crate::event::Event;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The right to work at one item, which one process has at a time; it ends with the value or with the process.
#[derive(Debug)]
pub(crate) struct FileLock {
    // Unlocked when it is closed. The file stays: whoever waits has it open.
    _file: File,
}

impl FileLock {
    /// Waits until no other process has it.
    pub(crate) fn wait(path: &Path, report: &mut dyn FnMut(Event)) -> Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(at(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                report(Event::Waiting);
                file.lock().map_err(at(path))?;
            }
            Err(TryLockError::Error(error)) => return Err(at(path)(error)),
        }
        Ok(Self { _file: file })
    }
}
