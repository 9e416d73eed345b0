//! The upkeep of session_keys, which never leave the server.

use std::sync::Arc;

use secrecy::SecretString;

use super::failure::Failure;
use super::{Operations, to_the_end};
use crate::session::{App, OpenId};
use crate::store::{ReplacedKey, Selection, Store as _, Whose};
use crate::wechat::users::sign;

impl Operations {
    /// Tells whether WeChat still has the session_key that is stored for a user.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn check_session_key(
        &self,
        app: &Arc<App>,
        open_id: &OpenId,
    ) -> Result<bool, Failure> {
        let _place = self.places.for_login().ok_or(Failure::TooManyLogins)?;
        let key = self.session_key(app, open_id).await?;
        Ok(self.wechat.is_session_key(app, open_id, &key).await?)
    }

    /// Has WeChat replace a user's session_key and stores the new one; to the end, also when the
    /// caller goes away. Other nodes hear of it by the change feed.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn reset_session_key(
        self: &Arc<Self>,
        app: &Arc<App>,
        open_id: OpenId,
    ) -> Result<(), Failure> {
        let (operations, app) = (Arc::clone(self), Arc::clone(app));
        let work = async move {
            let _place = operations.places.for_login().ok_or(Failure::TooManyLogins)?;
            let old = operations.session_key(&app, &open_id).await?;
            let new = operations.wechat.new_session_key(&app, &open_id, &old).await?;
            let replaced = ReplacedKey { appid: app.appid.clone(), open_id, old, new };
            // A login that came between has a newer one, which stays.
            let written = operations.store.replace_session_key(replaced).await;
            written.map(drop).map_err(|error| Failure::KeyNotWritten(error.into()))
        };
        to_the_end(work).await
    }

    /// Signs a text with a user's session_key. WeChat: the `signature` of payments and games.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn sign_with_session_key(
        &self,
        app: &Arc<App>,
        open_id: &OpenId,
        data: &str,
    ) -> Result<String, Failure> {
        let _place = self.places.for_request().ok_or(Failure::TooManyRequests)?;
        let key = self.session_key(app, open_id).await?;
        Ok(sign(&key, data.as_bytes()))
    }

    /// The newest session_key of a user who has a session.
    async fn session_key(&self, app: &App, open_id: &OpenId) -> Result<SecretString, Failure> {
        let whose = Whose::User(open_id.clone());
        let selection = Selection { appid: Some(app.appid.clone()), whose };
        let found = self.store.sessions(&selection, 1).await;
        let found = found.map_err(|error| Failure::Storage(error.into()))?;
        found.into_iter().next().map(|session| session.user.session_key).ok_or(Failure::NoUser)
    }
}
