//! A session in memory, and the apps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::session::{App, Expired, Session, SkeyDigest, StoredSkey, Visit, profile};

/// What the allocator takes for this many bytes: glibc puts eight in front and rounds up to sixteen.
pub(super) fn chunk(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

/// A session in memory, with what it takes to check and answer a request.
///
/// Its text is one allocation. A profile that says nothing but who the user is, as nearly all do
/// since 2022, is not in it: [`profile::minimal_parts`] has it for all of them.
#[derive(Debug)]
pub struct Known {
    /// The openid and the unionid, unless the profile has them; the id; the skey, if the store has
    /// it plain; the profile, unless it is the minimal one.
    text: Box<str>,
    id_at: u32,
    skey_at: u32,
    profile_at: u32,
    open_id_at: u32,
    union_id_at: u32,
    /// WeChat's whole answers are shorter than these can tell.
    open_id_len: u16,
    union_id_len: u16,
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
        let open_id = session.open_id.as_str();
        let union_id = session.user.union_id.as_deref();
        let parts = profile::minimal_parts(open_id, union_id);
        let is_minimal = profile::consists_of(&session.user.profile, parts);
        let profile = if is_minimal { "" } else { session.user.profile.as_str() };
        // Where the profile has an id, that is where it is kept.
        let [open_id_there, union_id_there] =
            [Some(open_id), union_id].map(|id| profile.find(id.unwrap_or_default()));
        let mut text = String::new();
        let mut push = |part: &str| {
            text.push_str(part);
            text.len()
        };
        let open_id_end = push(if open_id_there.is_some() { "" } else { open_id });
        let id_at = push(if union_id_there.is_some() { "" } else { union_id.unwrap_or_default() });
        let skey_at = push(session.id.as_str());
        let profile_at = push(plain);
        push(profile);
        let at = |there: Option<usize>, here| there.map_or(here, |there| profile_at + there);
        Self {
            text: text.into(),
            id_at: offset(id_at),
            skey_at: offset(skey_at),
            profile_at: offset(profile_at),
            open_id_at: offset(at(open_id_there, 0)),
            union_id_at: offset(at(union_id_there, open_id_end)),
            open_id_len: length(open_id),
            union_id_len: length(union_id.unwrap_or_default()),
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
        &self.text[self.id_at as usize..self.skey_at as usize]
    }

    /// The skey, as the store has it.
    #[must_use]
    pub fn skey(&self) -> StoredSkey {
        match &self.text[self.skey_at as usize..self.profile_at as usize] {
            "" => StoredSkey::Sha256(self.digest),
            plain => StoredSkey::Plain(plain.into()),
        }
    }

    /// `user_info` on the wire, in parts, between what goes before and after it.
    #[must_use]
    pub fn profile_between<'a>(&'a self, before: &'a str, after: &'a str) -> [&'a str; 7] {
        let [first, second, third, fourth, fifth] = match &self.text[self.profile_at as usize..] {
            "" => profile::minimal_parts(self.open_id(), self.union_id()),
            whole => [whole, "", "", "", ""],
        };
        [before, first, second, third, fourth, fifth, after]
    }

    /// The user's openid; empty when it is longer than any of WeChat's can be.
    #[must_use]
    pub fn open_id(&self) -> &str {
        &self.text[self.open_id_at as usize..][..self.open_id_len.into()]
    }

    /// The user's unionid, where WeChat gave one.
    #[must_use]
    pub fn union_id(&self) -> Option<&str> {
        let id = &self.text[self.union_id_at as usize..][..self.union_id_len.into()];
        Some(id).filter(|id| !id.is_empty())
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

    /// What it takes of memory, its two counts and a place among the due ones included.
    pub(super) fn bytes(&self) -> usize {
        let counted = size_of::<Self>() + 2 * size_of::<usize>();
        chunk(counted) + chunk(self.text.len()) + 2 * size_of::<usize>()
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

/// A place in a text, which is far shorter than this can tell.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The length of an id; of one that is too long to be WeChat's there is nothing.
fn length(id: &str) -> u16 {
    u16::try_from(id.len()).unwrap_or_default()
}

/// Seconds since the epoch in 32 bits.
pub(super) fn short(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}
