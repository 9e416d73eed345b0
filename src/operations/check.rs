//! Checks: is this session valid, and whose is it?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Operations;
use super::failure::{Failure, Refusal};
use crate::store::cached::Known;

/// The least time in which a caller who did not prove an skey is refused.
///
/// A wrong skey costs more work than an unknown id: a row is found, read and kept. The difference
/// is a fraction of a millisecond and, measured often enough, would tell which ids there are. Under
/// this floor it does not show. What [`Operations::check_known`] did before takes less than a
/// microsecond either way, and timers are coarser by far.
const REFUSED_AFTER: Duration = Duration::from_millis(5);

impl Operations {
    /// Checks a session against memory alone. Only a success is an answer: anything else is for
    /// [`Operations::check`] to decide.
    #[must_use]
    pub fn check_known(
        &self,
        id: &str,
        skey: &str,
        appid: Option<&str>,
        now: i64,
    ) -> Option<Arc<Known>> {
        if self.settings.touch_sync {
            return None;
        }
        let known = self.store.known(id, now)?;
        verdict(&known, skey, appid, now).ok()?;
        self.store.visited(&known, now);
        Some(known)
    }

    /// Checks a session; the store has the last word. A named app must be the session's.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn check(
        &self,
        id: &str,
        skey: &str,
        appid: Option<&str>,
        now: i64,
    ) -> Result<Arc<Known>, Failure> {
        self.ask_the_store(async {
            let known = self.find_valid(id, skey, appid, now).await?.map_err(Failure::Auth)?;
            if self.settings.touch_sync {
                let written = self.store.touch_now(&known, now).await;
                written.map_err(|error| Failure::VisitNotWritten(error.into()))?;
            } else {
                self.store.visited(&known, now);
            }
            Ok(known)
        })
        .await
    }

    /// Does what needs the store, if there is a place for it, and takes [`REFUSED_AFTER`] to
    /// refuse a caller who proved nothing.
    pub(super) async fn ask_the_store<T>(
        &self,
        question: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let place = self.places.for_request().ok_or(Failure::TooManyRequests)?;
        let outcome = question.await;
        // Who only waits for the time to pass is in nobody's way.
        drop(place);
        if let Err(Failure::Auth(refusal) | Failure::NoSessionKey(refusal)) = &outcome
            && *refusal == Refusal::UnknownIdOrWrongSkey
        {
            sleep_until(began + REFUSED_AFTER).await;
        }
        outcome
    }

    /// The session in the store, or why it is refused.
    pub(super) async fn find_valid(
        &self,
        id: &str,
        skey: &str,
        appid: Option<&str>,
        now: i64,
    ) -> Result<Result<Arc<Known>, Refusal>, Failure> {
        let found = self.store.load(id).await.map_err(|e| Failure::Storage(e.into()))?;
        let Some(known) = found else { return Ok(Err(Refusal::UnknownIdOrWrongSkey)) };
        Ok(verdict(&known, skey, appid, now).map(|()| known))
    }
}

/// What a session says to a request. Nothing is told to a caller who did not prove the skey.
fn verdict(known: &Known, skey: &str, appid: Option<&str>, now: i64) -> Result<(), Refusal> {
    if !known.proves(skey) {
        return Err(Refusal::UnknownIdOrWrongSkey);
    }
    if appid.is_some_and(|appid| appid != known.app().appid.as_str()) {
        return Err(Refusal::OtherApp);
    }
    known.expired(now).map_or(Ok(()), |expired| Err(Refusal::Expired(expired)))
}
