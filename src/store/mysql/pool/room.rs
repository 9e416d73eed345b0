//! Places for connections: as many as the settings allow, or as the database gives.
//!
//! Who holds a place may have a connection. When the database refuses one while others are held,
//! the place is closed: the pool is as large as it can be for now. The last place stays. One opens
//! with every new connection, and all once the database has refused nothing for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long after the database refused a connection places stay closed.
const CLOSED_FOR: Duration = Duration::from_secs(10);

/// The places of a pool.
#[derive(Debug)]
pub struct Room {
    places: Semaphore,
    /// How many places the settings allow.
    size: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: usize,
    /// How many places are held by somebody with a connection.
    filled: usize,
    /// When the database refused a connection, and what it said; `None`: not since the places
    /// opened.
    refused: Option<(Instant, String)>,
    /// Whether the log knows that the database gives fewer connections than there are places.
    told: bool,
}

impl State {
    /// Notes a refusal; true when the log does not know of it yet.
    fn refuse(&mut self, cause: &str, now: Instant) -> bool {
        self.refused = Some((now, cause.to_owned()));
        !std::mem::replace(&mut self.told, true)
    }

    /// How many places open again.
    fn reopen(&mut self, now: Instant) -> usize {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        let still = self.refused.as_ref().is_some_and(|(at, _)| since(at) < CLOSED_FOR);
        if still {
            return 0;
        }
        self.refused = None;
        std::mem::take(&mut self.closed)
    }

    /// Notes a connection; true when there are as many as the settings allow, and the log knows
    /// otherwise.
    fn fill(&mut self, size: usize) -> bool {
        self.filled += 1;
        self.filled == size && std::mem::take(&mut self.told)
    }
}

impl Room {
    pub fn new(size: usize) -> Self {
        Self { places: Semaphore::new(size), size, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place.
    pub async fn place(&self, now: Instant) -> Place<'_> {
        let reopened = self.state().reopen(now);
        self.places.add_permits(reopened);
        // Nobody closes the semaphore.
        Place { room: self, permit: self.places.acquire().await.ok(), filled: false }
    }

    /// Notes that the database gave a new connection: it may give one more.
    pub fn gave(&self) {
        let mut state = self.state();
        if state.closed > 0 {
            state.closed -= 1;
            self.places.add_permits(1);
        }
    }

    /// Why the database gave no connection of late.
    pub fn refusal(&self) -> Option<String> {
        self.state().refused.as_ref().map(|(_, cause)| cause.clone())
    }
}

/// The right to have a connection.
#[derive(Debug)]
pub struct Place<'a> {
    room: &'a Room,
    /// `None`: the place is closed.
    permit: Option<SemaphorePermit<'a>>,
    filled: bool,
}

impl Place<'_> {
    /// Notes that who holds the place has a connection.
    pub fn fill(&mut self) {
        if !self.filled && self.permit.is_some() {
            self.filled = true;
            if self.room.state().fill(self.room.size) {
                tracing::info!(
                    max_connections = self.room.size,
                    "the database gives `storage.max_connections` again"
                );
            }
        }
    }

    /// Notes that who holds the place has no connection any more.
    pub fn empty(&mut self) {
        if std::mem::take(&mut self.filled) {
            self.room.state().filled -= 1;
        }
    }

    /// Closes the place, since the database refused a connection; false when it is the last one,
    /// which stays.
    pub fn close(&mut self, cause: &str, now: Instant) -> bool {
        self.empty();
        let mut state = self.room.state();
        let is_news = state.refuse(cause, now);
        let closes = state.closed + 1 < self.room.size;
        if closes && let Some(permit) = self.permit.take() {
            state.closed += 1;
            permit.forget();
        }
        drop(state);
        if is_news {
            tracing::warn!(
                max_connections = self.room.size,
                cause,
                "`storage.max_connections` is more than the database gives: raise the limit of \
                 the database, or lower the setting"
            );
        }
        closes
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.empty();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const CAUSE: &str = "Too many connections";

    /// The places that are free now, filled.
    fn take_all(room: &Room, now: Instant) -> Vec<Place<'_>> {
        let free = std::iter::from_fn(|| room.place(now).now_or_never());
        let mut places: Vec<_> = free.collect();
        places.iter_mut().for_each(Place::fill);
        places
    }

    #[test]
    fn a_refused_connection_closes_its_place_and_no_other() {
        let (room, now) = (Room::new(4), Instant::now());
        let mut places = take_all(&room, now);
        assert_eq!(places.len(), 4);
        assert!(places.remove(0).close(CAUSE, now));
        assert_eq!(take_all(&room, now).len(), 0, "three are held");
        drop(places);
        assert_eq!(take_all(&room, now).len(), 3);
        assert_eq!(room.refusal().as_deref(), Some(CAUSE));
    }

    #[test]
    fn the_last_place_stays() {
        for size in [1, 2, 16] {
            let (room, now) = (Room::new(size), Instant::now());
            let places = take_all(&room, now);
            let closed = places.into_iter().map(|mut place| place.close(CAUSE, now));
            assert_eq!(closed.filter(|closed| *closed).count(), size - 1);
            assert_eq!(take_all(&room, now).len(), 1);
        }
    }

    #[test]
    fn places_open_again_when_nothing_was_refused_for_a_while() {
        let (room, start) = (Room::new(4), Instant::now());
        let mut places = take_all(&room, start);
        let later = start + CLOSED_FOR / 2;
        assert!(places.remove(0).close(CAUSE, start));
        assert!(places.remove(0).close(CAUSE, later));
        drop(places);
        let just_before = later + CLOSED_FOR.saturating_sub(Duration::from_millis(1));
        assert_eq!(take_all(&room, just_before).len(), 2);
        assert!(room.refusal().is_some());
        assert_eq!(take_all(&room, later + CLOSED_FOR).len(), 4);
        assert_eq!(room.refusal(), None);
        assert_eq!(take_all(&room, later + 2 * CLOSED_FOR).len(), 4, "and no more than that");
    }

    #[test]
    fn a_place_opens_with_a_new_connection() {
        let (room, now) = (Room::new(4), Instant::now());
        for mut place in take_all(&room, now) {
            place.close(CAUSE, now);
        }
        for open in [2, 3, 4, 4] {
            room.gave();
            assert_eq!(take_all(&room, now).len(), open);
        }
    }

    #[test]
    fn who_waits_has_a_place_that_opens() {
        let (room, now) = (Room::new(2), Instant::now());
        let mut places = take_all(&room, now);
        assert!(places.remove(0).close(CAUSE, now));
        let waits = room.place(now);
        let comes_later = room.place(now + CLOSED_FOR);
        assert!(std::pin::pin!(comes_later).now_or_never().is_some());
        assert!(std::pin::pin!(waits).now_or_never().is_some_and(|place| place.permit.is_some()));
    }

    #[test]
    fn the_log_hears_of_it_once_until_there_were_as_many_as_allowed() {
        let now = Instant::now();
        let mut state = State::default();
        assert!(state.refuse(CAUSE, now));
        assert!(!state.refuse(CAUSE, now), "it was said");
        state.reopen(now + CLOSED_FOR);
        assert!(!state.refuse(CAUSE, now), "it was tried again, in vain");
        assert!(!state.fill(2), "one is less than two");
        assert!(state.fill(2), "both are there");
        assert!(state.refuse(CAUSE, now), "it is news again");
        let mut state = State::default();
        assert!(!state.fill(1), "nobody said otherwise");
    }
}
