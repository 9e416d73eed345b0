//! Reads, a few at a time, beside the writer.
//!
//! The threads take reads from one queue: while there are some, none of them sleeps, so that a
//! read costs no more than the two wake-ups that a busy server has anyway.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema::{self, OpenError};
use crate::store::StoreError;

/// How many reads run at once.
const READERS: usize = 4;

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
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    closed: bool,
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

    /// The next read; `None` when there will be none.
    fn next(&self) -> Option<Read> {
        let waited = self.some.wait_while(self.state(), |s| s.reads.is_empty() && !s.closed);
        waited.unwrap_or_else(PoisonError::into_inner).reads.pop_front()
    }
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
            let run = move || {
                while let Some(read) = queue.next() {
                    read(&connection);
                }
            };
            let thread = thread.spawn(run);
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
        self.queue.state().reads.push_back(read);
        self.queue.some.notify_one();
        let outcome = outcome.await.map_err(|source| StoreError::new(doing, source))?;
        outcome.map_err(|source| StoreError::new(doing, source))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.state().closed = true;
        self.queue.some.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has closed its connection as well.
            let _ = thread.join();
        }
    }
}
