//! The matchers of the reference cases: JSON values, with a few words of their own.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{(\w+)\}").unwrap());

/// What earlier steps saved.
pub type Variables = HashMap<String, Value>;

/// Puts variables in the place of `${name}` in every text.
pub fn filled_in(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => filled_in_text(text, variables).into(),
        Value::Array(values) => values.iter().map(|value| filled_in(value, variables)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), filled_in(value, variables)))
            .collect(),
        other => other.clone(),
    }
}

/// Puts variables in the place of `${name}`.
pub fn filled_in_text(text: &str, variables: &Variables) -> String {
    let value = |found: &Captures| match variables.get(&found[1]) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => found[0].to_owned(),
    };
    VARIABLE.replace_all(text, value).into_owned()
}

/// Compares an answer with a matcher; objects may have more members than the matcher has.
pub fn compare(
    expected: &Value,
    found: &Value,
    variables: &Variables,
    at: &str,
) -> Result<(), String> {
    let is_right = match expected {
        Value::Object(members) => match members.iter().next() {
            Some((word, argument)) if members.len() == 1 && word.starts_with('$') => {
                is_said(word, argument, found, variables)
            }
            _ => return compare_members(expected, found, variables, at),
        },
        Value::Number(_) => expected == found || is_same_number(expected, found),
        _ => expected == found,
    };
    if is_right { Ok(()) } else { Err(format!("{at}: {found} is not {expected}")) }
}

fn compare_members(
    expected: &Value,
    found: &Value,
    variables: &Variables,
    at: &str,
) -> Result<(), String> {
    let found = found.as_object().ok_or_else(|| format!("{at}: {found} is no object"))?;
    for (name, matcher) in expected.as_object().into_iter().flatten() {
        match (found.get(name), matcher["$absent"] == true) {
            (Some(_), true) => return Err(format!("{at}.{name}: present")),
            (None, false) => return Err(format!("{at}.{name}: absent")),
            (None, true) => {}
            (Some(value), false) => compare(matcher, value, variables, &format!("{at}.{name}"))?,
        }
    }
    Ok(())
}

/// Applies a matcher that is one word with an argument.
fn is_said(word: &str, argument: &Value, found: &Value, variables: &Variables) -> bool {
    let text = argument.as_str().unwrap_or_default();
    let variable = variables.get(text).unwrap_or(&Value::Null);
    match word {
        "$any" => true,
        "$re" => found.as_str().is_some_and(|found| Regex::new(text).unwrap().is_match(found)),
        "$var" => found == variable,
        "$not_var" => found != variable,
        "$exact" => found == argument,
        "$type" => match text {
            "string" => found.is_string(),
            "number" => found.is_number(),
            "object" => found.is_object(),
            "array" => found.is_array(),
            "null" => found.is_null(),
            _ => panic!("no such type: {text}"),
        },
        _ => panic!("no such matcher: {word}"),
    }
}

fn is_same_number(one: &Value, other: &Value) -> bool {
    (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
}
