//! The one place that draws random bytes.

/// Bytes from the operating system's generator.
///
/// # Panics
///
/// When the operating system has none to give: without them no session would be secret.
#[expect(clippy::disallowed_methods, reason = "randomness is drawn here and passed on")]
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
