//! A store that remembers: sessions in memory, bounded by bytes, in front of another store.
//!
//! What makes it right:
//! - A refusal is never given from memory. Callers take a [`Known`] session for an answer only
//!   when it proves the request; for anything else they [`Cached::load`] it anew.
//! - A change by this process is forgotten before it is answered, one by another process when the
//!   change feed tells of it ([`Cached::follow`]); without news for `max_stale` nothing is trusted.
//! - A read that fills the cache takes a slot first. Forgetting a session marks the slots in
//!   flight for it, and what a marked read brings back is not kept.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexSet;
use tokio::sync::Notify;

use self::known::short;
use self::shard::{Fill, Shard};
use self::waiting::{Batch, Due, Sorted, Waiting};
use super::import::Imported;
use super::stats::{Census, Counted, Range, Stat, Step};
use super::users::{Account, Erased, Users};
use super::{Change, Changes, Expiry, Purged, ReplacedKey, Resealed, Selection, Store, StoreError};
use crate::session::{App, AppId, Login, OpenId, Session, SessionId, SignedIn, Visit};

mod known;
mod shard;
#[cfg(test)]
mod tests;
mod waiting;

pub use self::known::{Apps, Known};

/// Locks are taken per shard, so that the listener threads seldom meet.
const SHARDS: usize = 64;

/// How many last visits are written in one transaction.
const VISIT_BATCH: usize = 10_000;

/// What a visit costs that waits though its session left memory: the visit, its places in the set,
/// and what the list of due ones holds of the session until then.
const WAITING_BYTES: usize = 344;

/// What reading and writing take of the budget beside the sessions, at most: the page caches of
/// SQLite's connections, batches on their way, what the allocator cannot hand out again.
const READING_BYTES: usize = 14 << 20;

/// The same of a small budget, as a part of it.
const READING_SHARE: usize = 4;

/// One part in so many of the budget is for such visits. When they fill half of it they are
/// written early, but not before they fill a transaction; the other half is for those that come
/// meanwhile.
const WAITING_SHARE: usize = 10;

/// For what part of the touch interval a due visit may wait for others. The longer it waits, the
/// more of them share a page of the store.
const WAITING_PART: i64 = 4;

/// How long it waits at the most, in seconds: what waits takes memory.
const MAX_WAIT: i64 = 15;

/// How the cache behaves; the settings of the same names.
#[derive(Debug, Clone, Copy)]
pub struct CacheSettings {
    pub max_bytes: usize,
    /// Seconds.
    pub max_stale: i64,
    /// Seconds; at most a twentieth of an app's `session_duration` counts.
    pub touch_interval: i64,
}

/// A store around a store. Whoever begins a change drives it to its end, see
/// [`to_the_end`](crate::operations::to_the_end): the inner store may do its part all the same, and
/// memory would never hear of it.
pub struct Cached {
    inner: Arc<dyn Store>,
    settings: CacheSettings,
    shards: Box<[Mutex<Shard>]>,
    apps: RwLock<Apps>,
    /// Sessions in memory whose visit is due to be written.
    due: Mutex<Vec<Due>>,
    /// Visits that must be written though their session left memory.
    visits: Mutex<IndexSet<Waiting>>,
    /// How many of these there are, counting those on their way to the store.
    waiting: AtomicUsize,
    /// Told when they have become many.
    many_visits: Notify,
    /// Until which second memory may be trusted.
    trusted_until: AtomicI64,
    /// Whether something was missed, so that everything must be forgotten.
    missed: AtomicBool,
}

/// What a cache holds and has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheNumbers {
    pub sessions: usize,
    pub bytes: usize,
    pub hits: u64,
    pub misses: u64,
    /// Last visits that the inner store does not have yet.
    pub visits_waiting: usize,
    /// Seconds since the change feed was last read.
    pub feed_lag: i64,
}

/// How far memory may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The change feed is being read.
    Full,
    /// The store cannot be read, but not for long yet: known sessions check out.
    Stale,
    /// The store could not be read for `max_stale`: nothing is answered from memory.
    None,
}

impl Cached {
    /// Puts a cache around a store and reads the store's apps.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn open(
        inner: Arc<dyn Store>,
        settings: CacheSettings,
        now: i64,
    ) -> Result<Self, StoreError> {
        let cached = Self {
            inner,
            settings,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            apps: RwLock::default(),
            due: Mutex::default(),
            visits: Mutex::default(),
            waiting: AtomicUsize::new(0),
            many_visits: Notify::new(),
            trusted_until: AtomicI64::new(i64::MIN),
            missed: AtomicBool::new(true),
        };
        cached.follow(now).await?;
        Ok(cached)
    }

    /// The shard of an id. Ids are random, so their last bytes spread them well enough.
    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        let last = id.bytes().rev().take(4);
        let at = last.fold(0, |sum, byte| sum * 31 + usize::from(byte)) % SHARDS;
        lock(&self.shards[at])
    }

    /// The session with this id, if it is in memory and memory is to be trusted at `now`.
    #[must_use]
    pub fn known(&self, id: &str, now: i64) -> Option<Arc<Known>> {
        if now > self.trusted_until.load(Ordering::Acquire) {
            return None;
        }
        let mut shard = self.shard(id);
        let known = shard.get(id).cloned();
        match known {
            Some(_) => shard.hits += 1,
            None => shard.misses += 1,
        }
        known
    }

    /// What it holds and what it has done, at `now`.
    #[must_use]
    pub fn numbers(&self, now: i64) -> CacheNumbers {
        let mut numbers = CacheNumbers::default();
        for shard in &self.shards {
            let shard = lock(shard);
            numbers.sessions += shard.entries.len();
            numbers.bytes += shard.bytes();
            numbers.hits += shard.hits;
            numbers.misses += shard.misses;
        }
        numbers.visits_waiting = self.waiting.load(Ordering::Relaxed) + lock(&self.due).len();
        let followed = self.trusted_until.load(Ordering::Acquire) - self.settings.max_stale;
        numbers.feed_lag = (now - followed).max(0);
        numbers
    }

    /// Reads a session from the inner store, and keeps it.
    ///
    /// `None`: there is no such session, or its app is gone.
    ///
    /// # Errors
    ///
    /// When the inner store cannot be read.
    pub async fn load(&self, id: &str) -> Result<Option<Arc<Known>>, StoreError> {
        let slot = Slot::take(self, id);
        let Some(session) = self.inner.session(&id.into()).await? else { return Ok(None) };
        let apps = self.apps();
        let Some(app) = apps.find(Some(session.appid.as_str())) else { return Ok(None) };
        Ok(Some(slot.fill(Arc::new(Known::new(&session, Arc::clone(app))))))
    }

    /// How far memory may be trusted at `now`.
    #[must_use]
    pub fn trust(&self, now: i64) -> Trust {
        if now > self.trusted_until.load(Ordering::Acquire) {
            Trust::None
        } else if self.missed.load(Ordering::Relaxed) {
            Trust::Stale
        } else {
            Trust::Full
        }
    }

    /// Remembers that a session was checked at `now`; the inner store learns of it later.
    pub fn visited(&self, known: &Arc<Known>, now: i64) {
        let now = short(now);
        let last = known.last_visit.fetch_max(now, Ordering::SeqCst).max(now);
        known.visited.store(true, Ordering::Relaxed);
        // A due visit waits for others; until it is written no more than the interval is lost.
        let interval = self.touch_interval(&known.app);
        let due_after = (interval - interval / WAITING_PART).max(1);
        let unwritten = last.saturating_sub(known.written_visit.load(Ordering::Relaxed));
        if i64::from(unwritten) >= due_after && !known.due.swap(true, Ordering::Relaxed) {
            lock(&self.due).push(Arc::downgrade(known));
        }
        // Whoever removes it clears `kept` first and looks at the visit then; this goes the other
        // way round, so that one of the two sees the other.
        if !known.kept.load(Ordering::SeqCst) {
            self.keep_visit(known);
        }
    }

    /// Writes a visit at once.
    ///
    /// # Errors
    ///
    /// When the inner store cannot be written.
    pub async fn touch_now(&self, known: &Known, now: i64) -> Result<(), StoreError> {
        known.last_visit.fetch_max(short(now), Ordering::Relaxed);
        self.inner.touch(vec![known.visit()]).await?;
        known.written_visit.fetch_max(short(now), Ordering::Relaxed);
        Ok(())
    }

    /// Waits until visits should be written, since time has passed or many are waiting.
    pub async fn visits_due(&self) {
        let intervals = self.apps().iter().map(|app| self.touch_interval(app)).min();
        let wait = intervals.map_or(1, |shortest| shortest / WAITING_PART).clamp(1, MAX_WAIT);
        let wait = Duration::from_secs(wait.unsigned_abs());
        let _ = tokio::time::timeout(wait, self.many_visits.notified()).await;
    }

    /// How far an app's stored visits may be behind, in seconds.
    fn touch_interval(&self, app: &App) -> i64 {
        self.settings.touch_interval.min(i64::from(app.lifetime.idle_seconds) / 20)
    }

    /// Writes the visits that are waiting.
    ///
    /// # Errors
    ///
    /// When the inner store cannot be written; the visits wait on.
    pub async fn write_visits(&self) -> Result<(), StoreError> {
        let left = std::mem::take(&mut *lock(&self.visits));
        let taken = left.len();
        let due = std::mem::take(&mut *lock(&self.due));
        let mut sorted = Sorted::new(left, due);
        loop {
            let Batch { visits, held } = sorted.next_batch(VISIT_BATCH);
            if visits.is_empty() {
                self.waiting.fetch_sub(taken, Ordering::Relaxed);
                return Ok(());
            }
            if let Err(error) = self.inner.touch(visits).await {
                let (left, due) = sorted.not_written();
                let mut visits = lock(&self.visits);
                let there = visits.len() + taken;
                // Of one session the visit that came meanwhile is the later one, and stays.
                visits.extend(left);
                self.waiting.fetch_sub(there - visits.len(), Ordering::Relaxed);
                drop(visits);
                lock(&self.due).extend(due);
                return Err(error);
            }
            for (known, time) in held {
                known.written_visit.fetch_max(short(time), Ordering::Relaxed);
                known.due.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Writes every last visit to the second, waiting or not; for the end of the process.
    ///
    /// # Errors
    ///
    /// When the inner store cannot be written.
    pub async fn write_all_visits(&self) -> Result<(), StoreError> {
        for shard in &self.shards {
            let shard = lock(shard);
            for known in shard.entries.iter().filter(|known| known.has_unwritten_visit()) {
                self.wait_with(&mut lock(&self.visits), known);
            }
        }
        self.write_visits().await
    }

    /// Learns from the change feed what other processes changed, and trusts memory again.
    ///
    /// # Errors
    ///
    /// When the inner store cannot be read; memory is then trusted until `max_stale` is over.
    pub async fn follow(&self, now: i64) -> Result<(), StoreError> {
        let changes = self.inner.changes().await.inspect_err(|_| self.miss())?;
        let missed = self.missed.swap(false, Ordering::Relaxed);
        let changes = if missed { Changes::Anything } else { changes };
        let apps_changed = match &changes {
            Changes::Anything => true,
            Changes::These(changes) => changes.contains(&Change::Apps),
        };
        if apps_changed {
            self.reload_apps().await.inspect_err(|_| self.miss())?;
            self.forget_all();
        } else if let Changes::These(changes) = changes {
            for change in changes {
                if let Change::Session(id) = change {
                    self.forget(id.as_str());
                }
            }
        }
        self.trusted_until.store(now.saturating_add(self.settings.max_stale), Ordering::Release);
        Ok(())
    }

    /// Notes that changes may have been missed: memory is stale until the feed is read again.
    pub fn miss(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// The apps as last read.
    #[must_use]
    pub fn apps(&self) -> Apps {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the apps anew.
    ///
    /// # Errors
    ///
    /// When the inner store cannot be read.
    pub async fn reload_apps(&self) -> Result<Apps, StoreError> {
        let apps = Apps(self.inner.apps().await?.into_iter().map(Arc::new).collect());
        *self.apps.write().unwrap_or_else(PoisonError::into_inner) = apps.clone();
        Ok(apps)
    }

    /// Reads the apps anew after a change, and forgets the sessions that hold old ones.
    async fn apps_changed(&self) -> Result<(), StoreError> {
        let reloaded = self.reload_apps().await.inspect_err(|_| self.miss());
        self.forget_all();
        reloaded.map(drop)
    }

    fn forget(&self, id: &str) {
        let mut shard = self.shard(id);
        shard.mark_fills(|other| other == id);
        if let Some(known) = shard.remove(id) {
            self.keep_visit(&known);
        }
    }

    fn forget_all(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.mark_fills(|_| true);
            for known in shard.clear() {
                self.keep_visit(&known);
            }
        }
    }

    /// Sees to it that a visit is written though its session leaves memory.
    fn keep_visit(&self, known: &Known) {
        known.kept.store(false, Ordering::SeqCst);
        if known.has_unwritten_visit() {
            let mut visits = lock(&self.visits);
            self.wait_with(&mut visits, known);
            let half = self.settings.max_bytes / WAITING_SHARE / 2;
            if visits.len() == (half / WAITING_BYTES).max(VISIT_BATCH) {
                self.many_visits.notify_one();
            }
        }
    }

    /// Puts the visit of a session among those that wait.
    fn wait_with(&self, visits: &mut IndexSet<Waiting>, known: &Known) {
        if visits.replace(Waiting(known.visit())).is_none() {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many bytes a shard may take now.
    fn shard_bytes(&self) -> usize {
        let max_bytes = self.settings.max_bytes;
        let waiting = self.waiting.load(Ordering::Relaxed) * WAITING_BYTES;
        let visits = waiting.max(max_bytes / WAITING_SHARE / 2);
        let others = READING_BYTES.min(max_bytes / READING_SHARE) + visits;
        // Visits that cannot be written must not drive all sessions out.
        (max_bytes - others.min(max_bytes / 2)) / SHARDS
    }

    /// Makes the session remember visits that the inner store does not have yet.
    fn recall_visit(&self, known: &Known) {
        if let Some(Waiting(visit)) = lock(&self.visits).get(&SessionId::from(known.id()))
            && visit.skey == known.skey()
        {
            known.last_visit.fetch_max(short(visit.time), Ordering::Relaxed);
        }
    }
}

/// The right to put what a read brings back into the cache.
struct Slot<'a> {
    cached: &'a Cached,
    id: &'a str,
    fill: u64,
}

impl<'a> Slot<'a> {
    fn take(cached: &'a Cached, id: &'a str) -> Self {
        let mut shard = cached.shard(id);
        shard.last_fill += 1;
        let fill = shard.last_fill;
        shard.fills.insert(fill, Fill { id: id.into(), marked: false });
        Self { cached, id, fill }
    }

    /// Keeps the session unless it was forgotten meanwhile; returns it either way.
    fn fill(self, known: Arc<Known>) -> Arc<Known> {
        let mut shard = self.cached.shard(self.id);
        if let Some(old) = shard.remove(self.id) {
            self.cached.keep_visit(&old);
        }
        self.cached.recall_visit(&known);
        if shard.fills.get(&self.fill).is_some_and(|fill| !fill.marked) {
            shard.insert(Arc::clone(&known));
            while shard.bytes() > self.cached.shard_bytes() {
                let Some(evicted) = shard.evict() else { break };
                self.cached.keep_visit(&evicted);
            }
        }
        known
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.cached.shard(self.id).fills.remove(&self.fill);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for Cached {
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.inner.apps().await
    }

    async fn put_app(&self, app: &App) -> Result<(), StoreError> {
        self.inner.put_app(app).await?;
        self.apps_changed().await
    }

    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError> {
        let removed = self.inner.remove_app(appid).await?;
        self.apps_changed().await?;
        Ok(removed)
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.inner.session(id).await
    }

    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError> {
        let signed_in = self.inner.sign_in(login).await?;
        for id in &signed_in.touched {
            self.forget(id.as_str());
        }
        Ok(signed_in)
    }

    async fn replace_session_key(&self, replaced: ReplacedKey) -> Result<bool, StoreError> {
        // Memory has no session_keys.
        self.inner.replace_session_key(replaced).await
    }

    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError> {
        self.inner.touch(visits).await
    }

    async fn sessions(
        &self,
        selection: &Selection,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.inner.sessions(selection, limit).await
    }

    async fn sessions_after(
        &self,
        selection: &Selection,
        after: &SessionId,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.inner.sessions_after(selection, after, limit).await
    }

    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError> {
        let revoked = self.inner.revoke(selection).await?;
        for id in &revoked {
            self.forget(id.as_str());
        }
        Ok(revoked)
    }

    async fn users(&self, which: &Users, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.inner.users(which, limit).await
    }

    async fn erase(&self, appid: &AppId, open_id: &OpenId) -> Result<Erased, StoreError> {
        let erased = self.inner.erase(appid, open_id).await?;
        for id in &erased.sessions {
            self.forget(id.as_str());
        }
        Ok(erased)
    }

    async fn purge(&self, expiry: &[Expiry], after: &str) -> Result<Purged, StoreError> {
        self.inner.purge(expiry, after).await
    }

    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError> {
        let imported = self.inner.import(sessions).await;
        self.forget_all();
        imported
    }

    async fn reseal(&self, after: &str) -> Result<Resealed, StoreError> {
        self.inner.reseal(after).await
    }

    async fn add_stats(&self, counted: Counted) -> Result<(), StoreError> {
        self.inner.add_stats(counted).await
    }

    async fn stats(&self, range: Range, limit: u32) -> Result<Vec<Stat>, StoreError> {
        self.inner.stats(range, limit).await
    }

    async fn census(&self, since: i64) -> Result<Vec<Census>, StoreError> {
        self.inner.census(since).await
    }

    async fn keep_census(&self, day: i64, census: Vec<Census>) -> Result<(), StoreError> {
        self.inner.keep_census(day, census).await
    }

    async fn prune_stats(&self, step: Step, before: i64) -> Result<(), StoreError> {
        self.inner.prune_stats(step, before).await
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        self.inner.changes().await
    }
}
