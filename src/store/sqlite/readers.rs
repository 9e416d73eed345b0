//! Reads, a few at a time, beside the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::schema::configured;
use crate::store::StoreError;

/// How many reads run at once.
const READERS: usize = 4;

/// Connections that only read.
#[derive(Debug)]
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), idle: Mutex::default(), permits: Semaphore::new(READERS) }
    }

    /// Runs `work` on a connection that only reads.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(self);
        let permit = self.permits.acquire().await;
        let task = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let outcome = work(&connection)?;
            readers.put_back(connection);
            Ok(outcome)
        });
        let outcome: Result<rusqlite::Result<T>, _> = task.await;
        drop(permit);
        outcome
            .map_err(|source| StoreError::new(doing, source))?
            .map_err(|source| StoreError::new(doing, source))
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(
            || {
                configured(Connection::open_with_flags(
                    &self.path,
                    OpenFlags::SQLITE_OPEN_READ_ONLY,
                )?)
            },
            Ok,
        )
    }

    fn put_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
