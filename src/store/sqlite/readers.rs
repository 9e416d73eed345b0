//! Reads, a few at a time, beside the writer.
//!
//! The threads take reads from one queue. As few of them are awake as keep up, and each takes what
//! is its share in one transaction: a read costs few wake-ups and few locks. When reads
//! pile up or one takes long, the others wake. While reads come, one of those that sleep keeps
//! watch: it looks up every now and then whether those that are awake are stuck.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema::{self, OpenError};
use crate::store::StoreError;

/// How many reads run at once.
const READERS: usize = 4;

/// When the threads that are awake took nothing for so long, what they read comes from a disk or is
/// long, and nobody waits for them.
const SLOW: Duration = Duration::from_millis(1);

/// A read, to be run on a connection.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The threads that read. They and their connections end with this.
#[derive(Debug)]
pub struct Readers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    some: Condvar,
    /// Where the thread that keeps watch waits, which is woken last.
    watch: Condvar,
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    /// How many threads wait for one.
    asleep: usize,
    watch: Watch,
    /// When a thread last took some.
    taken: Option<Instant>,
    closed: bool,
}

/// Whether a thread that sleeps looks up every now and then.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Watch {
    #[default]
    Unset,
    /// A thread was woken for it.
    Wanted,
    Set,
}

impl State {
    /// Tells whether more reads wait than threads are awake, or those that are awake are slow.
    fn wants_another(&self) -> bool {
        let slow = || self.taken.is_none_or(|taken| taken.elapsed() > SLOW);
        self.reads.len() > READERS - self.asleep || slow()
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a read, and wakes a thread when those that are awake do not keep up. Whether they do
    /// is seen later as well, by the thread that keeps watch.
    fn add(&self, read: Read) {
        let mut state = self.state();
        state.reads.push_back(read);
        if state.asleep > 0 && state.wants_another() {
            let only_the_watch = state.asleep == 1 && state.watch == Watch::Set;
            drop(state);
            if only_the_watch { &self.watch } else { &self.some }.notify_one();
        } else {
            self.set_watch(state);
        }
    }

    /// Sees to it that a thread keeps watch over what waits, unless all are awake.
    fn set_watch(&self, mut state: MutexGuard<'_, State>) {
        if state.asleep > 0 && state.watch == Watch::Unset {
            state.watch = Watch::Wanted;
            drop(state);
            self.some.notify_one();
        }
    }

    /// Moves a thread's share of the reads that wait into `reads`; none when there will be none.
    fn take(&self, reads: &mut Vec<Read>) {
        let mut state = self.state();
        while state.reads.is_empty() && !state.closed {
            state.asleep += 1;
            state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
            if state.watch == Watch::Wanted {
                state = self.keep_watch(state);
            }
        }
        let share = state.reads.len().div_ceil(READERS);
        reads.extend(state.reads.drain(..share));
        state.taken = Some(Instant::now());
        if !state.reads.is_empty() {
            self.set_watch(state);
        }
    }

    /// Sleeps until another thread is wanted, or there was nothing to watch for a while.
    fn keep_watch<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.watch = Watch::Set;
        state.asleep += 1;
        while !state.closed && !state.wants_another() {
            let waited = self.watch.wait_timeout(state, SLOW);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if !timeout.timed_out() {
                break;
            }
        }
        state.asleep -= 1;
        state.watch = Watch::Unset;
        state
    }
}

/// A thread: ends when nothing more can come.
fn read_batches(connection: &Connection, queue: &Queue) {
    let mut reads = Vec::new();
    loop {
        queue.take(&mut reads);
        if reads.is_empty() {
            break;
        }
        if reads.len() > 1 {
            // To begin and to end is a good part of a read. Without this each does so by itself.
            let _ = execute(connection, "BEGIN");
        }
        for read in reads.drain(..) {
            read(connection);
        }
        if !connection.is_autocommit() {
            // Unlike COMMIT it ends the transaction in any case, so that no read sees an old one.
            let _ = execute(connection, "ROLLBACK");
        }
    }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([])
}

impl Readers {
    /// Opens the connections and starts their threads.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened or a thread cannot be started.
    pub fn start(path: &Path) -> Result<Self, OpenError> {
        let mut readers = Self { queue: Arc::default(), threads: Vec::new() };
        for number in 0..READERS {
            let connection = schema::connect_to_read(path)?;
            let queue = Arc::clone(&readers.queue);
            let thread = std::thread::Builder::new().name(format!("sqlite-reader-{number}"));
            let thread = thread.spawn(move || read_batches(&connection, &queue));
            readers
                .threads
                .push(thread.map_err(|source| OpenError::File { path: path.into(), source })?);
        }
        Ok(readers)
    }

    /// Runs `work` on a connection that only reads.
    pub async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // Nobody waits for the answer when the caller has gone.
            let _ = answer.send(work(connection));
        });
        self.queue.add(read);
        let outcome = outcome.await.map_err(|source| StoreError::new(doing, source))?;
        outcome.map_err(|source| StoreError::new(doing, source))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.state().closed = true;
        self.queue.some.notify_all();
        self.queue.watch.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has closed its connection as well.
            let _ = thread.join();
        }
    }
}
