//! Decrypts: opens what a phone encrypted for the user of a session.

use secrecy::ExposeSecret as _;

use super::Operations;
use super::failure::{Failure, Refusal};
use super::outcome::Sealed;
use crate::session::Session;
use crate::store::Store as _;
use crate::wechat::open_data::{DecryptError, OpenData};

impl Operations {
    /// Decrypts open data with the session_key of the session's user, or with the one before.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn decrypt(
        &self,
        id: &str,
        skey: &str,
        data: &Sealed<'_>,
        appid: Option<&str>,
        now: i64,
    ) -> Result<String, Failure> {
        self.ask_the_store(async {
            let valid = self.find_valid(id, skey, appid, now).await?;
            valid.map_err(Failure::NoSessionKey)?;
            let session = self.store.session(&id.into()).await;
            let session = session.map_err(|error| Failure::Storage(error.into()))?;
            // Another login may have come between the two reads.
            let session = session
                .filter(|session| session.skey.matches(skey))
                .ok_or(Failure::NoSessionKey(Refusal::UnknownIdOrWrongSkey))?;
            let opened = self.decrypt_failures.attempt(id, skey, now, || open(&session, data));
            opened.ok_or(Failure::SessionDataUntried)?.map_err(Failure::SessionData)
        })
        .await
    }
}

fn open(session: &Session, data: &Sealed<'_>) -> Result<String, DecryptError> {
    let user = &session.user;
    let with_key = |key: &str| {
        let appid = session.appid.as_str();
        let opened = OpenData::decrypt(key, &data.encrypted, data.iv.as_deref(), appid)?;
        opened.belongs_to(session.open_id.as_str(), user.union_id.as_deref())?;
        Ok(opened.into_text())
    };
    let newest = with_key(user.session_key.expose_secret());
    match (&newest, &user.previous_session_key) {
        (Err(_), Some(previous)) => with_key(previous.expose_secret()).or(newest),
        _ => newest,
    }
}
