//! The logins being worked on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Notify;

use super::failure::Failure;
use super::outcome::LoggedIn;
use crate::session::AppId;

/// An app and a code.
pub type Key = (AppId, String);

/// What a login comes to, for all who share it.
pub type Outcome = Result<Arc<LoggedIn>, Failure>;

/// A login that any number of callers wait for.
pub type SharedLogin = Shared<BoxFuture<'static, Outcome>>;

/// The logins being worked on, by app and code.
///
/// A code works once, and phones and proxies send it twice: requests that are in flight together
/// share one exchange and one answer, whatever data came with them. Nothing is remembered after
/// the answer.
#[derive(Default)]
pub struct InFlight {
    logins: Mutex<HashMap<Key, SharedLogin>>,
    /// Told when there are none left.
    none_left: Notify,
}

impl InFlight {
    fn logins(&self) -> MutexGuard<'_, HashMap<Key, SharedLogin>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.logins().len()
    }

    /// The login of this key that is being worked on, or the one that `begin` begins.
    ///
    /// # Errors
    ///
    /// Why `begin` began none.
    pub fn share(
        &self,
        key: Key,
        begin: impl FnOnce(Key) -> Result<SharedLogin, Failure>,
    ) -> Result<SharedLogin, Failure> {
        match self.logins().entry(key) {
            Entry::Occupied(shared) => Ok(shared.get().clone()),
            Entry::Vacant(free) => {
                let login = begin(free.key().clone())?;
                Ok(free.insert(login).clone())
            }
        }
    }

    /// Takes the login of this key out again when dropped, also by a panic.
    #[must_use]
    pub fn leaving(&self, key: Key) -> Leaving<'_> {
        Leaving { in_flight: self, key }
    }

    /// Waits until no login is being worked on.
    pub async fn finished(&self) {
        loop {
            let mut none_left = pin!(self.none_left.notified());
            none_left.as_mut().enable();
            if self.logins().is_empty() {
                return;
            }
            none_left.await;
        }
    }
}

/// A login on its way out of those being worked on.
pub struct Leaving<'a> {
    in_flight: &'a InFlight,
    key: Key,
}

impl Leaving<'_> {
    /// The code that is being exchanged.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.key.1
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut logins = self.in_flight.logins();
        logins.remove(&self.key);
        if logins.is_empty() {
            self.in_flight.none_left.notify_waiters();
        }
    }
}
