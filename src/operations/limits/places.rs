//! Places for requests that wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for requests that wait for the store or WeChat.
///
/// A waiting request costs memory and makes those behind it late, a refused one next to nothing:
/// when the places are taken, whoever comes is refused at once. Logins may take half of them, so
/// that they are refused first. A refused login is made up for by another, a refused check costs
/// a user the session.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    logins: Arc<Semaphore>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _in_all: OwnedSemaphorePermit,
    _in_logins: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// Makes so many places; 0 is no limit.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let count = match count {
            0 => Semaphore::MAX_PERMITS,
            count => count.min(Semaphore::MAX_PERMITS),
        };
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { all: semaphore(count), logins: semaphore((count / 2).max(1)) }
    }

    /// A place for a request that is no login, if there is one.
    #[must_use]
    pub fn for_request(&self) -> Option<Place> {
        Some(Place { _in_all: take(&self.all)?, _in_logins: None })
    }

    /// A place for a login, if there is one.
    #[must_use]
    pub fn for_login(&self) -> Option<Place> {
        let in_logins = take(&self.logins)?;
        Some(Place { _in_all: take(&self.all)?, _in_logins: Some(in_logins) })
    }
}

fn take(semaphore: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(semaphore).try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many places there are for this kind of request; they are all taken now.
    fn take_all(take: impl FnMut() -> Option<Place>) -> Vec<Place> {
        std::iter::from_fn(take).take(100).collect()
    }

    #[test]
    fn logins_leave_half_of_the_places_to_others() {
        let places = Places::new(9);
        let logins = take_all(|| places.for_login());
        let others = take_all(|| places.for_request());
        assert_eq!((logins.len(), others.len()), (4, 5));
        drop(logins);
        assert_eq!(take_all(|| places.for_request()).len(), 4);
    }

    #[test]
    fn a_login_that_finds_all_places_taken_keeps_none() {
        let places = Places::new(2);
        let others = take_all(|| places.for_request());
        assert!(places.for_login().is_none());
        drop(others);
        assert!(places.for_login().is_some());
    }

    #[test]
    fn a_single_place_is_for_logins_too_and_zero_is_no_limit() {
        assert!(Places::new(1).for_login().is_some());
        let unlimited = Places::new(0);
        assert_eq!(take_all(|| unlimited.for_login()).len(), 100);
    }
}
