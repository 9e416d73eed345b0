//! Group commit: one thread writes, and what waits together is committed together.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// How many writes share one transaction at the most.
const MAX_BATCH: usize = 1024;

/// A write: runs in a transaction, or learns why there is none; tells whether it failed.
type Write = Box<dyn FnOnce(Result<&Connection, Arc<rusqlite::Error>>) -> (bool, Finish) + Send>;

/// Answers a write, once its transaction was committed or not.
type Finish = Box<dyn FnOnce(Result<(), Arc<rusqlite::Error>>) + Send>;

/// The way to the thread that writes. The thread and its connection end with this.
#[derive(Debug)]
pub struct Writer {
    /// There until the end.
    queue: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, writes) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sqlite-writer".into());
        let thread = thread.spawn(move || write_batches(&connection, &writes))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `work` in the next transaction and returns its outcome once that is on disk.
    pub async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let write: Write = Box::new(move |connection| {
            let done = connection.and_then(|connection| work(connection).map_err(Arc::new));
            let failed = done.is_err();
            let finish: Finish = Box::new(move |committed| {
                // Nobody waits for the answer when the caller has gone.
                let _ = answer.send(committed.and(done));
            });
            (failed, finish)
        });
        let stopped = || StoreError::new(doing, "the database writer has stopped");
        self.queue.as_ref().ok_or_else(stopped)?.send(write).map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?.map_err(|source| StoreError::new(doing, source))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        // A thread that panicked has closed its connection as well.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The thread: ends when nothing more can come.
fn write_batches(connection: &Connection, queue: &mpsc::Receiver<Write>) {
    while let Ok(first) = queue.recv() {
        match queue.try_recv() {
            Err(_) => write_alone(connection, first),
            Ok(second) => {
                // Those that come meanwhile are of the batch as well.
                let others = queue.try_iter().take(MAX_BATCH - 2);
                write_together(connection, [first, second].into_iter().chain(others));
            }
        }
    }
}

fn begin(connection: &Connection) -> Result<(), Arc<rusqlite::Error>> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(Arc::new)
}

fn commit(connection: &Connection) -> Result<(), Arc<rusqlite::Error>> {
    connection.execute_batch("COMMIT").map_err(|error| {
        // A failed COMMIT can leave the transaction open.
        let _ = connection.execute_batch("ROLLBACK");
        Arc::new(error)
    })
}

/// Runs one write without a savepoint, for which SQLite would copy every page that is changed.
fn write_alone(connection: &Connection, write: Write) {
    let begun = begin(connection);
    let (failed, finish) = write(begun.clone().map(|()| connection));
    let committed = begun.and_then(|()| {
        if failed {
            // Some errors have done so already.
            let _ = connection.execute_batch("ROLLBACK");
            Ok(())
        } else {
            commit(connection)
        }
    });
    finish(committed);
}

/// Runs writes in one transaction.
fn write_together(connection: &Connection, writes: impl Iterator<Item = Write>) {
    let begun = begin(connection);
    let run = |write: Write| match &begun {
        Ok(()) => within_savepoint(connection, write),
        Err(error) => write(Err(Arc::clone(error))).1,
    };
    let finishes: Vec<Finish> = writes.map(run).collect();
    let committed = begun.and_then(|()| commit(connection));
    for finish in finishes {
        finish(committed.clone());
    }
}

/// Runs one write so that its failure undoes nothing of the others.
fn within_savepoint(connection: &Connection, write: Write) -> Finish {
    let savepoint =
        |sql| connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(Arc::new);
    if let Err(error) = savepoint("SAVEPOINT one") {
        return write(Err(error)).1;
    }
    let (failed, finish) = write(Ok(connection));
    if failed {
        // Without the savepoint the batch's COMMIT fails too, and every write is told so.
        let _ = savepoint("ROLLBACK TO one");
    }
    let _ = savepoint("RELEASE one");
    finish
}
