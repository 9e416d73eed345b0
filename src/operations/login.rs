//! Logs in: a code goes in, a session comes out.

use std::sync::Arc;

use futures_util::future::FutureExt as _;
use tokio::time::Instant;

use super::failure::Failure;
use super::in_flight::{Key, Outcome, SharedLogin};
use super::limits::Place;
use super::outcome::{Kind, LoggedIn, Sealed};
use super::{Operations, SessionSettings};
use crate::random;
use crate::session::{App, AppId, Login, SessionId, Skey};
use crate::store::Store as _;
use crate::wechat::client::Identity;
use crate::wechat::open_data::{DecryptError, OpenData};

impl Operations {
    /// Logs a user in. The work goes on when the caller goes away, since the code is spent.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn login(
        self: &Arc<Self>,
        app: Arc<App>,
        code: &str,
        data: Option<Sealed<'_>>,
        kind: Kind,
        now: i64,
    ) -> Outcome {
        let key = (app.appid.clone(), code.to_owned());
        let login = self.in_flight.share(key, |key| {
            let place = self.admit_login(&app.appid, Instant::now())?;
            let login = Wanted { app, data: data.map(into_owned), kind, now };
            Ok(self.start_login(login, key, place))
        })?;
        login.await
    }

    /// The place for a login that shares no other's exchange, which costs nothing.
    fn admit_login(&self, app: &AppId, now: Instant) -> Result<Place, Failure> {
        let place = self.places.for_login().ok_or(Failure::TooManyLogins)?;
        if self.login_rate.admits(app, now) { Ok(place) } else { Err(Failure::LoginsTooFast) }
    }

    fn start_login(self: &Arc<Self>, login: Wanted, key: Key, place: Place) -> SharedLogin {
        let operations = Arc::clone(self);
        let task = tokio::spawn(async move {
            // Given back when the work is done, whether or not the caller is still there.
            let _place = place;
            let leaving = operations.in_flight.leaving(key);
            operations.exchange_and_sign_in(login, leaving.code()).await
        });
        task.map(|joined| joined.unwrap_or(Err(Failure::Lost))).boxed().shared()
    }

    async fn exchange_and_sign_in(&self, wanted: Wanted, code: &str) -> Outcome {
        let Wanted { app, data, kind, now } = wanted;
        let identity = self.wechat.code2session(&app, code).await.map_err(Failure::Exchange)?;
        let profile = data
            .map(|data| read_profile(&data, &app, &identity))
            .transpose()
            .map_err(Failure::LoginData)?;
        let Identity { open_id, union_id, session_key, expires_in } = identity;
        let skey = Skey::new(random::bytes());
        let (new_id, per_user) = self.new_session(kind);
        let login = Login {
            appid: app.appid.clone(),
            open_id: open_id.clone(),
            union_id,
            session_key,
            profile,
            new_id,
            skey: skey.clone(),
            now,
            per_user,
        };
        let written = self.store.sign_in(login).await;
        let signed_in = written.map_err(|error| Failure::LoginNotWritten(error.into()))?;
        Ok(Arc::new(LoggedIn {
            id: signed_in.id,
            skey,
            is_new: signed_in.is_new,
            appid: app.appid.clone(),
            open_id,
            union_id: signed_in.union_id,
            profile: signed_in.profile,
            duration: expires_in.unwrap_or(app.lifetime.idle_seconds.into()),
        }))
    }

    /// The id of a new session, and how many of its kind a user may have.
    fn new_session(&self, kind: Kind) -> (SessionId, u32) {
        let SessionSettings { per_user, per_user_of_devices, .. } = self.settings;
        match (kind, per_user_of_devices) {
            (Kind::Device, Some(limit)) => (SessionId::of_device(random::bytes()), limit),
            (Kind::Shared, _) | (Kind::Device, None) => (SessionId::new(random::bytes()), per_user),
        }
    }
}

/// A login, as its caller wants it.
struct Wanted {
    app: Arc<App>,
    data: Option<Sealed<'static>>,
    kind: Kind,
    now: i64,
}

fn read_profile(data: &Sealed<'_>, app: &App, identity: &Identity) -> Result<String, DecryptError> {
    use secrecy::ExposeSecret as _;

    let session_key = identity.session_key.expose_secret();
    let appid = app.appid.as_str();
    let profile = OpenData::decrypt(session_key, &data.encrypted, data.iv.as_deref(), appid)?;
    profile.belongs_to(identity.open_id.as_str(), identity.union_id.as_deref())?;
    Ok(profile.into_text())
}

fn into_owned(data: Sealed<'_>) -> Sealed<'static> {
    Sealed {
        encrypted: data.encrypted.into_owned().into(),
        iv: data.iv.map(|iv| iv.into_owned().into()),
    }
}
