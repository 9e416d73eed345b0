//! Reads, a few at a time, beside the writer.
//!
//! The threads take reads from one queue: while there are some, none of them sleeps, so that a
//! read costs no more than the two wake-ups that a busy server has anyway.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::schema::configured;
use crate::store::StoreError;

/// How many reads run at once.
const READERS: usize = 2;

/// A read: runs on a connection, or learns why there is none.
type Read = Box<dyn FnOnce(rusqlite::Result<&Connection>) + Send>;

/// The threads that read. They end with this.
#[derive(Debug)]
pub struct Readers(Arc<Queue>);

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
    /// Starts the threads. They open the database when they are first asked something.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(path: &Path) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        for number in 0..READERS {
            let (queue, path) = (Arc::clone(&queue), path.to_owned());
            std::thread::Builder::new()
                .name(format!("sqlite-reader-{number}"))
                .spawn(move || read_all(&queue, &path))?;
        }
        Ok(Self(queue))
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
            let _ = answer.send(connection.and_then(work));
        });
        self.0.state().reads.push_back(read);
        self.0.some.notify_one();
        let outcome = outcome.await.map_err(|source| StoreError::new(doing, source))?;
        outcome.map_err(|source| StoreError::new(doing, source))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.some.notify_all();
    }
}

fn read_all(queue: &Queue, path: &PathBuf) {
    let mut connection = None;
    while let Some(read) = queue.next() {
        if connection.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
            match Connection::open_with_flags(path, flags).and_then(configured) {
                Ok(opened) => connection = Some(opened),
                Err(error) => {
                    read(Err(error));
                    continue;
                }
            }
        }
        if let Some(connection) = &connection {
            read(Ok(connection));
        }
    }
}
