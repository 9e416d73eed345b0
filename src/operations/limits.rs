//! What is refused so that the rest is served.
//!
//! A check of a session that memory knows is under none of these limits.

mod decrypt_failures;
mod login_rate;
mod places;

pub use self::decrypt_failures::DecryptFailures;
pub use self::login_rate::LoginRate;
pub use self::places::{Place, Places};

/// The settings of `[limits]` that operations go by; a limit of 0 is none.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// How many requests may wait for the store or WeChat at once.
    pub requests: usize,
    /// How many logins an app may begin in a second.
    pub logins_per_second: u32,
    /// How many decryptions of a session may fail within an hour.
    pub decrypt_failures: u32,
}
