//! Settings that are one word of a few.

/// The choice of this name, or an error that lists them all.
///
/// # Errors
///
/// When there is no such choice.
pub fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let choice = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
    choice.ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("`{text}` is none of {}", names.join(", "))
    })
}
