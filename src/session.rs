//! Apps, users and sessions, and the rules of their life. Pure: time is an argument.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

pub mod profile;
mod skey;

pub use self::skey::{Skey, SkeyDigest, StoredSkey};

/// Makes a type of text that compares byte for byte and is not mixed up with another.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Box<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }
    };
}

text_type! {
    /// A mini program's id: `wx` and 16 hex digits for real ones.
    AppId
}
text_type! {
    /// A user's id within one app. WeChat: code2Session.
    OpenId
}
text_type! {
    /// A session's name, `id` on the wire and `uuid` in the tables.
    SessionId
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AppId {
    /// Tells whether a text is like WeChat's appids: `wx` and 16 lower-case hex digits.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        text.strip_prefix("wx").is_some_and(|rest| {
            rest.len() == 16 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}

/// What the id of a device's session begins with. Those of the PHP server are hex digits.
const DEVICE: &str = "d-";

impl SessionId {
    /// Makes the id of a new session from 16 random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(hex(random))
    }

    /// Makes the id of a new session that is one device's, see [`Login::fates`].
    #[must_use]
    pub fn of_device(random: [u8; 16]) -> Self {
        Self(format!("{DEVICE}{}", hex(random)).into())
    }

    /// Tells whether this is the id of one device's session.
    #[must_use]
    pub fn is_of_device(&self) -> bool {
        self.0.starts_with(DEVICE)
    }
}

fn hex(random: [u8; 16]) -> Box<str> {
    format!("{:032x}", u128::from_be_bytes(random)).into()
}

/// A mini program that may log in here.
#[derive(Debug, Clone)]
pub struct App {
    pub appid: AppId,
    pub secret: SecretString,
    pub lifetime: Lifetime,
    /// Whether requests that name no app mean this one.
    pub is_default: bool,
}

impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        let Self { appid, secret, lifetime, is_default } = self;
        *appid == other.appid
            && secret.expose_secret() == other.secret.expose_secret()
            && *lifetime == other.lifetime
            && *is_default == other.is_default
    }
}

/// How long an app's sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Days from the login, whatever happens.
    pub login_days: u32,
    /// Seconds from the last visit.
    pub idle_seconds: u32,
}

impl Default for Lifetime {
    /// Thirty days each, as the Wafer server's tables have it.
    fn default() -> Self {
        Self { login_days: 30, idle_seconds: 30 * 86_400 }
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// It was not used for longer than `session_duration`.
    Unused,
    /// The login is longer ago than `login_duration`.
    TooOld,
}

impl Lifetime {
    /// The first second at which a login made at `created` is too long ago.
    #[must_use]
    pub fn too_old_from(self, created: i64) -> i64 {
        created.saturating_add(i64::from(self.login_days) * 86_400 + 1)
    }

    /// The first second at which a session visited at `last_visit` has been unused too long.
    #[must_use]
    pub fn unused_from(self, last_visit: i64) -> i64 {
        last_visit.saturating_add(i64::from(self.idle_seconds) + 1)
    }

    /// Tells whether a session is over at `now`. Instants are seconds since the epoch.
    #[must_use]
    pub fn expired(self, created: i64, last_visit: i64, now: i64) -> Option<Expired> {
        if now >= self.too_old_from(created) {
            Some(Expired::TooOld)
        } else if now >= self.unused_from(last_visit) {
            Some(Expired::Unused)
        } else {
            None
        }
    }
}

/// What is known of a user of an app, shared by the user's sessions.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's id across the apps of one Open Platform account.
    pub union_id: Option<String>,
    /// WeChat's key for open data, base64.
    pub session_key: SecretString,
    /// The key before it; a phone may still encrypt with that one.
    pub previous_session_key: Option<SecretString>,
    /// `user_info` on the wire: a JSON object as WeChat wrote it.
    pub profile: String,
}

/// What an operator is told of a session, in a word; `app` is the session's, where it is there.
#[must_use]
pub fn state(session: &Session, app: Option<&App>, now: i64) -> &'static str {
    let Some(app) = app else { return "app removed" };
    let over = app.lifetime.expired(session.created, session.last_visit, now);
    if over.is_some() { "expired" } else { "valid" }
}

/// A session with its user.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub skey: StoredSkey,
    pub appid: AppId,
    pub open_id: OpenId,
    /// When the user logged in, seconds since the epoch.
    pub created: i64,
    /// When the session was last checked successfully, seconds since the epoch.
    pub last_visit: i64,
    pub user: User,
    /// The store's own number of this login, for stores that find it faster by that; else 0.
    pub row: i64,
}

/// A login that WeChat vouched for, to be written.
#[derive(Debug, Clone)]
pub struct Login {
    pub appid: AppId,
    pub open_id: OpenId,
    pub union_id: Option<String>,
    pub session_key: SecretString,
    /// The decrypted profile; `None` keeps the stored one.
    pub profile: Option<String>,
    /// The id of the session, if this login makes a new one; it says which kind that is.
    pub new_id: SessionId,
    pub skey: Skey,
    /// Seconds since the epoch.
    pub now: i64,
    /// How many sessions of that kind a user may have; 0 is no limit.
    pub per_user: u32,
}

impl Login {
    /// The user after this login, given what was stored before.
    #[must_use]
    pub fn user(&self, stored: Option<User>) -> User {
        let (profile, union_id, previous_session_key) = match stored {
            None => (None, None, None),
            Some(user) if user.session_key.expose_secret() == self.session_key.expose_secret() => {
                (Some(user.profile), user.union_id, user.previous_session_key)
            }
            Some(user) => (Some(user.profile), user.union_id, Some(user.session_key)),
        };
        let union_id = self.union_id.clone().or(union_id);
        let profile = self
            .profile
            .clone()
            .or(profile)
            .unwrap_or_else(|| profile::minimal(self.open_id.as_str()));
        User {
            profile: profile::with_identity(profile, self.open_id.as_str(), union_id.as_deref()),
            union_id,
            session_key: self.session_key.clone(),
            previous_session_key,
        }
    }

    /// What becomes of the user's stored sessions, given newest first.
    ///
    /// A user's sessions are of two kinds, and a login is about its own: those of devices, each a
    /// session of its own, and the others, of which one alone is renewed, as the PHP server does.
    pub fn fates<'a>(
        &self,
        newest_first: impl IntoIterator<Item = &'a SessionId>,
    ) -> impl Iterator<Item = Fate> {
        let is_of_device = self.new_id.is_of_device();
        let mut place = 0;
        newest_first.into_iter().map(move |id| {
            if id.is_of_device() != is_of_device {
                return Fate::Stays;
            }
            place += 1;
            match self.per_user {
                0 => Fate::Stays,
                1 if place == 1 && !is_of_device => Fate::Renewed,
                limit if place < limit => Fate::Stays,
                _ => Fate::Ends,
            }
        })
    }
}

/// What a login makes of a session that is stored; see [`Login::fates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// It keeps its id and gets the new skey.
    Renewed,
    Ends,
}

/// What became of a [`Login`].
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub id: SessionId,
    /// Whether the session is new, rather than the user's last one renewed.
    pub is_new: bool,
    pub union_id: Option<String>,
    pub profile: String,
    /// Every session of the user that is gone or no longer as it was, for caches.
    pub touched: Vec<SessionId>,
}

/// A successful check of a session, to be remembered.
#[derive(Debug, Clone)]
pub struct Visit {
    pub id: SessionId,
    /// The skey that was checked: a visit is not written once another login replaced it.
    pub skey: StoredSkey,
    /// Seconds since the epoch.
    pub time: i64,
    /// [`Session::row`]
    pub row: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_to_the_second() {
        let lifetime = Lifetime { login_days: 1, idle_seconds: 10 };
        let expired = |last_visit, now| lifetime.expired(1000, last_visit, now);
        assert_eq!(expired(1000, 1010), None);
        assert_eq!(expired(1000, 1011), Some(Expired::Unused));
        assert_eq!(expired(1000 + 86_395, 1000 + 86_400), None);
        assert_eq!(expired(1000 + 86_400, 1000 + 86_401), Some(Expired::TooOld));
    }

    #[test]
    fn real_appids_are_told_from_typing_errors() {
        assert!(AppId::is_like("wx0123456789abcdef"));
        for wrong in ["", "wx", "wx0123456789ABCDEF", "wx0123456789abcde", "gh_0123456789ab"] {
            assert!(!AppId::is_like(wrong), "{wrong}");
        }
    }

    fn login(union_id: Option<&str>, session_key: &str, profile: Option<&str>) -> Login {
        Login {
            appid: "wx".into(),
            open_id: "o1".into(),
            union_id: union_id.map(Into::into),
            session_key: session_key.into(),
            profile: profile.map(Into::into),
            new_id: SessionId::new([0; 16]),
            skey: Skey::new([1; 16]),
            now: 0,
            per_user: 1,
        }
    }

    #[test]
    fn a_login_without_a_profile_keeps_the_stored_one() {
        let first = login(None, "k1", Some(r#"{"nickName":"A"}"#)).user(None);
        assert_eq!(first.profile, r#"{"nickName":"A","openId":"o1"}"#);
        let second = login(Some("u1"), "k2", None).user(Some(first));
        assert_eq!(second.profile, r#"{"nickName":"A","openId":"o1","unionId":"u1"}"#);
        assert_eq!(second.union_id.as_deref(), Some("u1"));
    }

    #[test]
    fn the_key_before_the_newest_is_kept() {
        let previous =
            |user: &User| user.previous_session_key.as_ref().map(|k| k.expose_secret().to_owned());
        let first = login(None, "k1", None).user(None);
        assert_eq!(previous(&first), None);
        let second = login(None, "k2", None).user(Some(first));
        assert_eq!(previous(&second).as_deref(), Some("k1"));
        let same = login(None, "k2", None).user(Some(second));
        assert_eq!(previous(&same).as_deref(), Some("k1"));
    }
}
