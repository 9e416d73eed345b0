//! What the server does, whoever asks for it. Operations know no surface, and are told what time
//! it is.

mod check;
mod decrypt;
pub mod failure;
mod in_flight;
pub mod limits;
mod login;
mod logout;
pub mod outcome;
mod phone;
pub mod session_key;

use std::panic::resume_unwind;
use std::sync::Arc;

use self::failure::Failure;
use self::in_flight::InFlight;
use self::limits::{DecryptFailures, LoginRate, Places, RequestLimits};
use crate::session::{App, AppId};
use crate::store::cached::Cached;
use crate::wechat::client::Client;

/// The operations of the session server. Each has a file of its own.
pub struct Operations {
    store: Cached,
    wechat: Client,
    settings: SessionSettings,
    in_flight: InFlight,
    places: Places,
    login_rate: LoginRate,
    decrypt_failures: DecryptFailures,
}

/// Does work to its end, also when whoever asked for it goes away meanwhile. A change is half done
/// otherwise: the store has made it, and memory and the log have not heard of it.
pub async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime ends, and whoever waits for this with it.
        Err(_) => std::future::pending().await,
    }
}

/// The settings of `[sessions]` that operations go by.
#[derive(Debug, Clone, Copy)]
pub struct SessionSettings {
    /// How many sessions a user may have; 0 is no limit.
    pub per_user: u32,
    /// How many sessions the devices of a user may have beside those, 0 being no limit; `None` where
    /// there are none of their own: the PHP server knows one session a user.
    pub per_user_of_devices: Option<u32>,
    /// Whether a visit is written before a check is answered.
    pub touch_sync: bool,
}

impl Operations {
    /// Puts the operations together.
    #[must_use]
    pub fn new(
        store: Cached,
        wechat: Client,
        settings: SessionSettings,
        limits: RequestLimits,
    ) -> Self {
        Self {
            store,
            wechat,
            settings,
            in_flight: InFlight::default(),
            places: Places::new(limits.requests),
            login_rate: LoginRate::new(limits.logins_per_second),
            decrypt_failures: DecryptFailures::new(limits.decrypt_failures),
        }
    }

    /// The store, for the work that is no request.
    #[must_use]
    pub fn store(&self) -> &Cached {
        &self.store
    }

    /// WeChat, for its numbers.
    #[must_use]
    pub fn wechat(&self) -> &Client {
        &self.wechat
    }

    /// How many logins are being worked on.
    #[must_use]
    pub fn logins_in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// Waits until no login is being worked on, also one whose caller has gone.
    pub async fn finished(&self) {
        self.in_flight.finished().await;
    }

    /// The app that a login means.
    ///
    /// # Errors
    ///
    /// [`Failure::NoApp`] only after the store was asked; [`Failure::Storage`] when it could
    /// not be, [`Failure::TooManyLogins`] when too many are waiting for it.
    pub async fn app(&self, appid: Option<&str>) -> Result<Arc<App>, Failure> {
        if let Some(app) = self.store.apps().find(appid) {
            return Ok(Arc::clone(app));
        }
        let _place = self.places.for_login().ok_or(Failure::TooManyLogins)?;
        let apps = self.store.reload_apps().await.map_err(|e| Failure::Storage(e.into()))?;
        // Only what looks like an appid is repeated: it may be something else, in the wrong place.
        let named = || appid.filter(|appid| AppId::is_like(appid)).map(AppId::from);
        apps.find(appid).map(Arc::clone).ok_or_else(|| Failure::NoApp(named()))
    }
}
