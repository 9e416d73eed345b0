//! A store that counts what is asked of another, how long that takes and how often it fails.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use prometheus::{HistogramVec, IntCounterVec, histogram_opts, opts};

use super::import::Imported;
use super::stats::{Census, Counted, Range, Stat, Step};
use super::users::{Account, Erased, Users};
use super::{Changes, Expiry, Purged, ReplacedKey, Resealed, Selection, Store, StoreError};
use crate::session::{App, AppId, Login, OpenId, Session, SessionId, SignedIn, Visit};

/// From an index in memory to a disk in trouble, in seconds.
const BUCKETS: [f64; 12] =
    [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 250e-3, 1.0, 5.0];

/// What a store was asked, by operation. Clones are the same numbers.
#[derive(Debug, Clone)]
pub struct StoreNumbers {
    pub durations: HistogramVec,
    pub errors: IntCounterVec,
}

impl StoreNumbers {
    /// Numbers that begin at zero.
    ///
    /// # Errors
    ///
    /// When a name is none that Prometheus takes.
    pub fn new() -> prometheus::Result<Self> {
        let help = "How long the store took, by operation.";
        let durations = histogram_opts!("mina_auth_store_duration_seconds", help, BUCKETS.into());
        let errors = opts!("mina_auth_store_errors_total", "Operations that the store failed.");
        Ok(Self {
            durations: HistogramVec::new(durations, &["operation"])?,
            errors: IntCounterVec::new(errors, &["operation"])?,
        })
    }

    async fn time<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let outcome = work.await;
        let took = started.elapsed().as_secs_f64();
        self.durations.with_label_values(&[operation]).observe(took);
        // Nothing at all would be no number to Prometheus: a zero is.
        self.errors.with_label_values(&[operation]).inc_by(outcome.is_err().into());
        outcome
    }
}

/// A store around a store, beneath the cache: what memory answers is not counted here.
pub struct Metered {
    inner: Arc<dyn Store>,
    numbers: StoreNumbers,
}

impl Metered {
    /// Counts what is asked of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, numbers: StoreNumbers) -> Self {
        Self { inner, numbers }
    }
}

#[async_trait]
impl Store for Metered {
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.numbers.time("apps", self.inner.apps()).await
    }

    async fn put_app(&self, app: &App) -> Result<(), StoreError> {
        self.numbers.time("put_app", self.inner.put_app(app)).await
    }

    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError> {
        self.numbers.time("remove_app", self.inner.remove_app(appid)).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.numbers.time("session", self.inner.session(id)).await
    }

    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError> {
        self.numbers.time("sign_in", self.inner.sign_in(login)).await
    }

    async fn replace_session_key(&self, replaced: ReplacedKey) -> Result<bool, StoreError> {
        let replacing = self.inner.replace_session_key(replaced);
        self.numbers.time("replace_session_key", replacing).await
    }

    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError> {
        self.numbers.time("touch", self.inner.touch(visits)).await
    }

    async fn sessions(
        &self,
        selection: &Selection,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.numbers.time("sessions", self.inner.sessions(selection, limit)).await
    }

    async fn sessions_after(
        &self,
        selection: &Selection,
        after: &SessionId,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let page = self.inner.sessions_after(selection, after, limit);
        self.numbers.time("sessions_after", page).await
    }

    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError> {
        self.numbers.time("revoke", self.inner.revoke(selection)).await
    }

    async fn users(&self, which: &Users, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.numbers.time("users", self.inner.users(which, limit)).await
    }

    async fn erase(&self, appid: &AppId, open_id: &OpenId) -> Result<Erased, StoreError> {
        self.numbers.time("erase", self.inner.erase(appid, open_id)).await
    }

    async fn purge(&self, expiry: &[Expiry], after: &str) -> Result<Purged, StoreError> {
        self.numbers.time("purge", self.inner.purge(expiry, after)).await
    }

    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError> {
        self.numbers.time("import", self.inner.import(sessions)).await
    }

    async fn reseal(&self, after: &str) -> Result<Resealed, StoreError> {
        self.numbers.time("reseal", self.inner.reseal(after)).await
    }

    async fn add_stats(&self, counted: Counted) -> Result<(), StoreError> {
        self.numbers.time("add_stats", self.inner.add_stats(counted)).await
    }

    async fn stats(&self, range: Range, limit: u32) -> Result<Vec<Stat>, StoreError> {
        self.numbers.time("stats", self.inner.stats(range, limit)).await
    }

    async fn census(&self, since: i64) -> Result<Vec<Census>, StoreError> {
        self.numbers.time("census", self.inner.census(since)).await
    }

    async fn keep_census(&self, day: i64, census: Vec<Census>) -> Result<(), StoreError> {
        self.numbers.time("keep_census", self.inner.keep_census(day, census)).await
    }

    async fn prune_stats(&self, step: Step, before: i64) -> Result<(), StoreError> {
        self.numbers.time("prune_stats", self.inner.prune_stats(step, before)).await
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        self.numbers.time("changes", self.inner.changes()).await
    }
}
