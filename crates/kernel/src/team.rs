//! Threads that stay awake from kernel to kernel.
//!
//! A pass is a hundred kernels of some ten microseconds each. rayon's threads fall asleep between two of them, and waking up
//! takes as long as the kernel. For the length of a pass, the other threads of the pool therefore wait in a loop for tasks;
//! they take up rayon's work as well, let other programs run after a while, and go where nothing comes for long.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs `work` on a thread of rayon's pool, and keeps the others awake for its kernels.
///
/// Results do not depend on it. Where the other threads have work of their own, this one does all tasks.
pub fn with_team<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        // Asked inside of the pool that the work runs on.
        let helpers = rayon::current_num_threads() - 1;
        if helpers == 0 || CURRENT.get().is_some() {
            return work();
        }
        let team = Team::new(helpers);
        rayon::scope(|scope| {
            let call = || scope.spawn(|_| team.help());
            let current = Current { team: &team, call: &call };
            let _end = End { team: &team, before: CURRENT.replace(Some((&raw const current).cast())) };
            team.call_missing(&call);
            work()
        })
    })
}

/// Shares tasks out over the team that this thread leads; says whether there is one.
pub(super) fn share<F: Fn(usize) + Sync>(count: usize, task: &F) -> bool {
    // Absent while the tasks run: a kernel inside of a task goes by rayon.
    let Some(current) = CURRENT.take() else { return false };
    let _back = Back(current);
    // SAFETY: `with_team` takes the pointer away before what it points to goes.
    let Current { team, call } = unsafe { &*current };
    team.call_missing(call);
    team.run(count, task);
    true
}

/// How long a thread waits for tasks before it lets others run, and before it goes.
const ALONE: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(5);
/// Looks at the team between two looks at the clock and at rayon's work.
const LOOKS: u32 = 32;

/// The team that a thread leads, and how it calls a helper.
struct Current<'a> {
    team: &'a Team,
    call: &'a dyn Fn(),
}

thread_local! {
    static CURRENT: Cell<Option<*const Current<'static>>> = const { Cell::new(None) };
}

/// Puts the pointer back that [`share`] took.
struct Back(*const Current<'static>);

impl Drop for Back {
    fn drop(&mut self) {
        CURRENT.set(Some(self.0));
    }
}

/// Sends the helpers home.
struct End<'a> {
    team: &'a Team,
    before: Option<*const Current<'static>>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.before);
        self.team.over.store(true, Ordering::Release);
    }
}

/// On cache lines of its own: threads write to it while others read what lies beside it.
#[repr(align(128))]
struct Apart<T>(T);

struct Team {
    /// The job's number in steps of [`NUMBER`], [`OPEN`] while helpers may join it, and how many have joined.
    state: Apart<AtomicUsize>,
    /// The next task of the job.
    next: Apart<AtomicUsize>,
    job: UnsafeCell<Job>,
    /// Helpers that were called and have not gone.
    called: AtomicUsize,
    helpers: usize,
    over: AtomicBool,
    /// Whether a helper's task panicked.
    failed: AtomicBool,
}

const OPEN: usize = 1 << 15;
const NUMBER: usize = 1 << 16;

// SAFETY: `job` is written by the leader while no helper has joined and none may join; see `run`.
unsafe impl Sync for Team {}

/// Tasks `0 .. count`, and how to do one.
#[derive(Clone, Copy)]
struct Job {
    task: *const (),
    run: unsafe fn(*const (), usize),
    count: usize,
}

/// # Safety
/// `task` points to an `F`.
unsafe fn run_one<F: Fn(usize)>(task: *const (), index: usize) {
    // SAFETY: the caller's.
    unsafe { (*task.cast::<F>())(index) }
}

impl Team {
    fn new(helpers: usize) -> Self {
        let nothing = Job { task: std::ptr::null(), run: |_, _| {}, count: 0 };
        Self {
            state: Apart(AtomicUsize::new(0)),
            next: Apart(AtomicUsize::new(0)),
            job: UnsafeCell::new(nothing),
            called: AtomicUsize::new(0),
            helpers: helpers.min(OPEN - 1),
            over: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Calls as many helpers as have gone.
    fn call_missing(&self, call: &dyn Fn()) {
        for _ in self.called.load(Ordering::Relaxed)..self.helpers {
            self.called.fetch_add(1, Ordering::Relaxed);
            call();
        }
    }

    /// Does tasks together with the helpers; for the leader alone.
    fn run<F: Fn(usize) + Sync>(&self, count: usize, task: &F) {
        // SAFETY: the last job is closed and all helpers have left it: nobody reads.
        unsafe { *self.job.get() = Job { task: (&raw const *task).cast(), run: run_one::<F>, count } };
        self.next.0.store(0, Ordering::Relaxed);
        let number = self.state.0.load(Ordering::Relaxed) / NUMBER;
        self.state.0.store(number.wrapping_add(1).wrapping_mul(NUMBER) | OPEN, Ordering::Release);
        let close = Close(self);
        self.take_tasks();
        drop(close);
        assert!(!self.failed.load(Ordering::Relaxed), "a kernel's task panicked on another thread");
    }

    fn take_tasks(&self) {
        // SAFETY: it is not written before all who joined have left.
        let Job { task, run, count } = unsafe { *self.job.get() };
        loop {
            let index = self.next.0.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            // SAFETY: `run` is made for the task's type, and the task lives until all have left.
            unsafe { run(task, index) }
        }
    }

    /// Joins one job after the other until the leader is done.
    fn help(&self) {
        let _gone = Gone(self);
        let mut done = 0;
        let mut idle = Instant::now();
        let mut looks = 0;
        while !self.over.load(Ordering::Acquire) {
            let state = self.state.0.load(Ordering::Relaxed);
            let joins = state & OPEN != 0 && state / NUMBER != done && {
                self.state.0.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            if joins {
                done = state / NUMBER;
                let leave = Leave(self);
                self.take_tasks();
                drop(leave);
                (idle, looks) = (Instant::now(), 0);
                continue;
            }
            std::hint::spin_loop();
            looks += 1;
            if looks % LOOKS != 0 {
                continue;
            }
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = Instant::now();
            }
            let waited = idle.elapsed();
            if waited > LONGEST {
                return;
            }
            if waited > ALONE {
                std::thread::yield_now();
            }
        }
    }
}

/// Counts a helper that goes.
struct Gone<'a>(&'a Team);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.called.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A helper leaves a job.
struct Leave<'a>(&'a Team);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.state.0.fetch_sub(1, Ordering::Release);
    }
}

/// The leader lets nobody join any more, and waits for those who have.
struct Close<'a>(&'a Team);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.state.0.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0_u32;
        while self.0.state.0.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            std::hint::spin_loop();
            looks += 1;
            if looks.is_multiple_of(1024) {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn each_task_is_done_once() {
        for threads in [1, 2, 5] {
            with_threads(threads, || {
                with_team(|| {
                    for count in [0, 1, 2, 7, 100, 1000] {
                        let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                        for round in 1..20 {
                            crate::each_task(count, |task| {
                                done[task].fetch_add(1, Ordering::Relaxed);
                            });
                            assert!(done.iter().all(|one| one.load(Ordering::Relaxed) == round));
                        }
                    }
                });
            });
        }
    }

    /// Passes side by side, tasks that have kernels themselves, rayon's work in between, and pauses after which helpers have gone.
    #[test]
    fn teams_go_with_rayon_and_with_each_other() {
        let total = AtomicUsize::new(0);
        with_threads(3, || {
            (0..6).into_par_iter().for_each(|pass| {
                with_team(|| {
                    for round in 0..30 {
                        crate::each_task(5, |_| {
                            crate::each_task(4, |_| {
                                total.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                        total.fetch_add((0..10).into_par_iter().map(|_| 1).sum::<usize>(), Ordering::Relaxed);
                        if round % 10 == pass {
                            std::thread::sleep(2 * LONGEST);
                        }
                    }
                });
            });
        });
        assert_eq!(total.into_inner(), 6 * 30 * 30);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        with_threads(2, || {
            for panics_at in [0, 40] {
                let work = || with_team(|| crate::each_task(80, |task| assert_ne!(task, panics_at)));
                assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
            }
            let done = AtomicUsize::new(0);
            with_team(|| {
                crate::each_task(8, |_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_eq!(done.into_inner(), 8);
        });
    }
}
