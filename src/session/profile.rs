//! Profiles, `user_info` on the wire: JSON objects as WeChat wrote them.

use crate::json::{self, Value};

/// Adds `openId`, and `unionId` where WeChat gave one, to a profile that has none, at its end.
///
/// Data of `wx.getUserProfile` names no user, but the server SDKs look for `openId`.
#[must_use]
pub fn with_identity(profile: String, open_id: &str, union_id: Option<&str>) -> String {
    let Ok(object) = Value::parse(profile.as_bytes()) else { return profile };
    let missing = [("openId", Some(open_id)), ("unionId", union_id)]
        .into_iter()
        .filter_map(|(name, id)| Some((name, id?)))
        .filter(|(name, _)| object.get(name).is_none());
    let is_empty = object.text()[1..].trim_start().starts_with('}');
    let mut separator = if is_empty { "" } else { "," };
    let mut added = String::new();
    for (name, id) in missing {
        added.push_str(separator);
        separator = ",";
        json::push_string(&mut added, name);
        added.push(':');
        json::push_string(&mut added, id);
    }
    let mut profile = profile;
    if let Some(end) = profile.rfind('}') {
        profile.insert_str(end, &added);
    }
    profile
}

/// `$before`, what the minimal profile has after the openid, `$after`. `gender` is there because the
/// C# SDK needs it.
macro_rules! nothing_shown {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            r#","nickName":"","gender":0,"language":"","city":"","province":"","country":"","avatarUrl":"""#,
            $after
        )
    };
}

/// The profile of a user who never showed one.
#[must_use]
pub fn minimal(open_id: &str) -> String {
    let mut profile = String::from(r#"{"openId":"#);
    json::push_string(&mut profile, open_id);
    profile.push_str(nothing_shown!("", "}"));
    profile
}

/// What [`with_identity`] makes of it, in parts, for ids that JSON has as they are.
#[must_use]
pub fn minimal_parts<'a>(open_id: &'a str, union_id: Option<&'a str>) -> [&'a str; 5] {
    let start = r#"{"openId":""#;
    match union_id {
        None => [start, open_id, nothing_shown!("\"", "}"), "", ""],
        Some(union_id) => {
            [start, open_id, nothing_shown!("\"", ",\"unionId\":\""), union_id, "\"}"]
        }
    }
}

/// Tells whether a text consists of these parts.
#[must_use]
pub fn consists_of(text: &str, parts: [&str; 5]) -> bool {
    let rest = parts.iter().try_fold(text, |rest, part| rest.strip_prefix(part));
    rest.is_some_and(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_identity_at_the_end_and_only_once() {
        let added = with_identity(r#"{"nickName":"a} "} "#.into(), "o\"1", Some("u"));
        insta::assert_snapshot!(added, @r#"{"nickName":"a} ","openId":"o\"1","unionId":"u"} "#);
        assert_eq!(with_identity(added.clone(), "other", Some("other")), added);
        assert_eq!(with_identity("{ }".into(), "o", None), r#"{ "openId":"o"}"#);
    }

    #[test]
    fn the_parts_of_the_minimal_profile_are_the_profile() {
        for union_id in [None, Some("u-1")] {
            let whole = with_identity(minimal("o-1"), "o-1", union_id);
            assert!(consists_of(&whole, minimal_parts("o-1", union_id)), "{whole}");
            assert!(!consists_of(&whole, minimal_parts("o-2", union_id)));
        }
        assert!(!consists_of(&minimal("o\"1"), minimal_parts("o\"1", None)));
    }
}
