//! Where work is done: on threads of our own, without Python's lock, while the caller listens for Ctrl-C.

use crate::error::raise;
use faithful_core::{Error, Result, Watch, caught};
use faithful_explain::Listener;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the caller waits between two looks at signals and progress.
const TICK: Duration = Duration::from_millis(50);
/// Kernels keep windows and tiles on the stack.
const STACK: usize = 8 << 20;

/// Jobs that were begun and have not ended, abandoned ones among them.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
/// Only ever locked while Python's lock is held, so that a fork never finds it locked.
static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);

thread_local! {
    static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The threads of one process, and who may use them.
struct Engine {
    process: u32,
    /// What the user asked for; nothing for one per core.
    threads: Option<NonZeroUsize>,
    pool: Option<Arc<ThreadPool>>,
    gate: Arc<Gate>,
}

/// Lets one job at a time through: two would hold each other up on the same threads.
#[derive(Default)]
struct Gate {
    busy: Mutex<bool>,
    freed: Condvar,
}

/// A lock whose holder panicked holds plain data all the same.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// Whether it was entered within a tick.
    fn enter(&self) -> bool {
        let busy = locked(&self.busy);
        let waited = self.freed.wait_timeout_while(busy, TICK, |busy| *busy);
        let (mut busy, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut *busy, true)
    }

    fn leave(&self) {
        *locked(&self.busy) = false;
        self.freed.notify_one();
    }
}

impl Engine {
    fn new(threads: Option<NonZeroUsize>) -> Self {
        Self { process: std::process::id(), threads, pool: None, gate: Arc::default() }
    }

    /// That of this process. What a fork copied of its parent's has no threads, and is left where it is.
    fn of_this_process(held: &mut Option<Self>) -> PyResult<&mut Self> {
        if let Some(copied) = held.take_if(|engine| engine.process != std::process::id()) {
            if UNDER_WAY.load(Ordering::SeqCst) > 0 {
                *held = Some(copied);
                return Err(raise(
                    "ForkedError",
                    "this process was forked while a network was computing, and holds half of that work: start worker \
                     processes before computing, or with multiprocessing's `spawn`",
                ));
            }
            *held = Some(Self::new(copied.threads));
            std::mem::forget(copied);
        }
        Ok(held.get_or_insert_with(|| Self::new(None)))
    }

    fn pool(&mut self) -> PyResult<Arc<ThreadPool>> {
        if let Some(pool) = &self.pool {
            return Ok(pool.clone());
        }
        let builder = ThreadPoolBuilder::new().num_threads(self.threads.map_or(0, NonZeroUsize::get));
        let builder = builder.stack_size(STACK).thread_name(|index| format!("faithful-{index}"));
        let pool = builder
            .build()
            .map_err(|error| raise("InternalError", &format!("no threads could be started: {error}")))?;
        Ok(self.pool.insert(Arc::new(pool)).clone())
    }
}

/// How many threads compute from the next call on; 0 for one per core.
#[pyfunction]
pub(crate) fn set_threads(threads: usize) -> PyResult<()> {
    if threads > 1024 {
        return Err(raise("ParameterError", &format!("threads: {threads} is not from 0 (one per core) to 1024")));
    }
    let mut held = locked(&ENGINE);
    let engine = Engine::of_this_process(&mut held)?;
    (engine.threads, engine.pool) = (NonZeroUsize::new(threads), None);
    Ok(())
}

/// How many threads compute.
#[pyfunction]
pub(crate) fn threads() -> PyResult<usize> {
    Ok(Engine::of_this_process(&mut locked(&ENGINE))?.pool()?.current_num_threads())
}

/// How far a job is; the job hears through it that nobody waits any more.
#[derive(Default)]
pub(crate) struct Progress {
    expected: AtomicU64,
    done: AtomicU64,
    abandoned: AtomicBool,
    notes: Mutex<Vec<String>>,
}

impl Progress {
    /// What the job had to say.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.notes))
    }
}

impl Watch for Progress {
    fn announce(&self, work: u64) {
        self.expected.fetch_add(work, Ordering::Relaxed);
    }

    fn advance(&self, work: u64) -> Result<()> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Error::Cancelled("interrupted".into()));
        }
        self.done.fetch_add(work, Ordering::Relaxed);
        Ok(())
    }
}

impl Listener for Progress {
    fn note(&self, text: &str) {
        locked(&self.notes).push(text.to_owned());
    }
}

/// A job that was let through the gate, until it is dropped.
struct UnderWay(Arc<Gate>);

impl UnderWay {
    fn begin(gate: Arc<Gate>) -> Self {
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        Self(gate)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
        self.0.leave();
    }
}

/// Does `work` on the process's threads and gives its result. Meanwhile other threads of Python run, `progress(done, expected)`
/// is called ten times a second, and Ctrl-C returns at once: the work then ends before its next pass through the network.
///
/// # Errors
/// What `work` returns, and what a signal handler or `progress` raises.
pub(crate) fn compute<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Progress) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    if INSIDE.get() {
        return Err(raise(
            "FaithfulError",
            "a function that is called while a network computes cannot make one compute",
        ));
    }
    let (pool, gate) = {
        let mut held = locked(&ENGINE);
        let engine = Engine::of_this_process(&mut held)?;
        (engine.pool()?, engine.gate.clone())
    };
    while !py.detach(|| gate.enter()) {
        py.check_signals()?;
    }
    let job = UnderWay::begin(gate);
    let state = Arc::new(Progress::default());
    let (sender, mut receiver) = sync_channel(1);
    let seen = state.clone();
    pool.spawn(move || {
        INSIDE.set(true);
        let result = caught(|| work(&seen)).unwrap_or_else(|| Err(Error::internal("a computation panicked")));
        INSIDE.set(false);
        drop(job);
        // The caller may have gone.
        let _ = sender.send(result);
    });
    loop {
        let answer;
        (receiver, answer) = py.detach(move || {
            let answer = receiver.recv_timeout(TICK);
            (receiver, answer)
        });
        match answer {
            Ok(result) => {
                if let Some(progress) = progress {
                    report(progress, &state)?;
                }
                return result.map_err(crate::error::to_python);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(raise("InternalError", "a computation was lost")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let heard = py.check_signals().and_then(|()| progress.map_or(Ok(()), |progress| report(progress, &state)));
        if let Err(error) = heard {
            state.abandoned.store(true, Ordering::Relaxed);
            return Err(error);
        }
    }
}

fn report(progress: &Bound<'_, PyAny>, state: &Progress) -> PyResult<()> {
    let done = state.done.load(Ordering::Relaxed);
    progress.call1((done, state.expected.load(Ordering::Relaxed).max(done))).map(drop)
}
