//! `qcloud.cam.auth`: is this session valid, and whose is it?

use std::sync::Arc;

use crate::operations::Operations;
use crate::protocol::{Failure, Refusal};
use crate::store::cached::Known;

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
        let known = self.find_valid(id, skey, appid, now).await?.map_err(Failure::Auth)?;
        if self.settings.touch_sync {
            let written = self.store.touch_now(&known, now).await;
            written.map_err(|error| Failure::VisitNotWritten(error.into()))?;
        } else {
            self.store.visited(&known, now);
        }
        Ok(known)
    }

    /// The session in the store, or why it is refused.
    pub(crate) async fn find_valid(
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
