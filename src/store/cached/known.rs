//! A session in memory, and the apps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::session::{App, Expired, Session, SkeyDigest, StoredSkey, Visit};

/// What an entry costs beside its text: the entry, two allocations, its share of the index.
const ENTRY_OVERHEAD: usize = size_of::<Known>() + 2 * size_of::<usize>() + 80;

/// A session in memory, with what it takes to check and answer a request.
#[derive(Debug)]
pub struct Known {
    /// The id, the skey if the store has it plain, the profile, the openid and the unionid, one
    /// after the other.
    text: Box<str>,
    skey_at: u32,
    profile_at: u32,
    open_id_at: u32,
    union_id_at: u32,
    digest: SkeyDigest,
    pub(super) app: Arc<App>,
    /// Instants are kept in 32 bits, good until 2106: there may be millions of these.
    created: u32,
    pub(super) last_visit: AtomicU32,
    /// The last visit that the inner store has.
    pub(super) written_visit: AtomicU32,
    /// Whether the visit waits to be written.
    pub(super) due: AtomicBool,
    /// Whether it is in memory for others to find. Where it is not, nobody else will see to it
    /// that its visit is written.
    pub(super) kept: AtomicBool,
    /// Whether it was visited since an eviction last looked at it.
    pub(super) visited: AtomicBool,
    /// [`Session::row`]
    pub(super) row: i64,
}

impl Known {
    pub(super) fn new(session: &Session, app: Arc<App>) -> Self {
        let plain = match &session.skey {
            StoredSkey::Sha256(_) => "",
            StoredSkey::Plain(skey) => skey,
        };
        let union_id = session.user.union_id.as_deref().unwrap_or_default();
        let parts =
            [session.id.as_str(), plain, &session.user.profile, session.open_id.as_str(), union_id];
        let skey_at = parts[0].len();
        let profile_at = skey_at + parts[1].len();
        Self {
            text: parts.concat().into(),
            skey_at: u32::try_from(skey_at).unwrap_or(u32::MAX),
            profile_at: u32::try_from(profile_at).unwrap_or(u32::MAX),
            open_id_at: u32::try_from(profile_at + parts[2].len()).unwrap_or(u32::MAX),
            union_id_at: u32::try_from(profile_at + parts[2].len() + parts[3].len())
                .unwrap_or(u32::MAX),
            digest: session.skey.digest(),
            app,
            created: short(session.created),
            last_visit: short(session.last_visit).into(),
            written_visit: short(session.last_visit).into(),
            due: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            visited: AtomicBool::new(false),
            row: session.row,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.text[..self.skey_at as usize]
    }

    /// The skey, as the store has it.
    #[must_use]
    pub fn skey(&self) -> StoredSkey {
        match &self.text[self.skey_at as usize..self.profile_at as usize] {
            "" => StoredSkey::Sha256(self.digest),
            plain => StoredSkey::Plain(plain.into()),
        }
    }

    /// `user_info` on the wire.
    #[must_use]
    pub fn profile(&self) -> [&str; 3] {
        ["", &self.text[self.profile_at as usize..self.open_id_at as usize], ""]
    }

    /// The user's openid.
    #[must_use]
    pub fn open_id(&self) -> &str {
        &self.text[self.open_id_at as usize..self.union_id_at as usize]
    }

    /// The user's unionid, where WeChat gave one.
    #[must_use]
    pub fn union_id(&self) -> Option<&str> {
        Some(&self.text[self.union_id_at as usize..]).filter(|id| !id.is_empty())
    }

    /// The session's app.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Tells whether `skey` is the session's, byte for byte, in constant time.
    #[must_use]
    pub fn proves(&self, skey: &str) -> bool {
        self.digest.matches(skey)
    }

    /// When the user logged in, seconds since the epoch.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.created.into()
    }

    /// The first second at which the session is over if it is not used after `now`.
    #[must_use]
    pub fn expires(&self, now: i64) -> i64 {
        let lifetime = self.app.lifetime;
        lifetime.too_old_from(self.created.into()).min(lifetime.unused_from(now))
    }

    /// Tells whether the session is over at `now`.
    #[must_use]
    pub fn expired(&self, now: i64) -> Option<Expired> {
        let last_visit = self.last_visit.load(Ordering::Relaxed);
        self.app.lifetime.expired(self.created.into(), last_visit.into(), now)
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD
    }

    /// The last visit as something to write.
    pub(super) fn visit(&self) -> Visit {
        Visit {
            id: self.id().into(),
            skey: self.skey(),
            time: self.last_visit.load(Ordering::Relaxed).into(),
            row: self.row,
        }
    }

    pub(super) fn has_unwritten_visit(&self) -> bool {
        self.last_visit.load(Ordering::SeqCst) > self.written_visit.load(Ordering::Relaxed)
    }
}

/// The apps that may log in.
#[derive(Debug, Clone, Default)]
pub struct Apps(pub(super) Arc<[Arc<App>]>);

impl Apps {
    /// The app with this appid; without one the only app, or the default one.
    #[must_use]
    pub fn find(&self, appid: Option<&str>) -> Option<&Arc<App>> {
        match (appid, &*self.0) {
            (None, [only]) => Some(only),
            (None, several) => several.iter().find(|app| app.is_default),
            (Some(appid), all) => all.iter().find(|app| app.appid.as_str() == appid),
        }
    }

    /// All apps.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.0.iter()
    }
}

/// Seconds since the epoch in 32 bits.
pub(super) fn short(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}
