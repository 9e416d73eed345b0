//! Answers: an outcome as the envelope carries it.

use std::fmt::Write as _;
use std::sync::Arc;

use super::codes::CallError;
use crate::json;
use crate::operations::outcome::LoggedIn;
use crate::store::cached::Known;

/// A successful call.
#[derive(Debug, Clone)]
pub enum Success {
    LoggedIn(Arc<LoggedIn>),
    Checked(Arc<Known>),
    /// The decrypted object's text.
    Decrypted(String),
    AppSet,
}

/// What every answer ends with.
pub const ANSWER_END: &str = r#","version":1,"componentName":"MA"}"#;

/// What the answer to a successful check begins with, up to the profile.
pub const CHECKED_START: &str =
    r#"{"returnCode":0,"returnMessage":"AUTH_SUCCESS","returnData":{"user_info":"#;

/// What follows the profile in the answer to a successful check.
pub const CHECKED_END: &str = r#"},"version":1,"componentName":"MA"}"#;

/// Writes an answer; `data` is JSON text.
fn write_answer(code: u32, message: &str, reason: &str, data: &str) -> String {
    let mut answer = String::with_capacity(128 + message.len() + reason.len() + data.len());
    let _ = write!(answer, r#"{{"returnCode":{code},"returnMessage":"#);
    if reason.is_empty() {
        json::push_string(&mut answer, message);
    } else {
        json::push_string(&mut answer, &format!("{message}: {reason}"));
    }
    answer.push_str(r#","returnData":"#);
    answer.push_str(data);
    answer.push_str(ANSWER_END);
    answer
}

/// The answer to a call.
#[must_use]
pub fn answered(outcome: &Result<Success, CallError>) -> String {
    match outcome {
        Ok(Success::Checked(known)) => known.profile_between(CHECKED_START, CHECKED_END).concat(),
        Ok(Success::LoggedIn(login)) => logged_in(login),
        Ok(Success::Decrypted(object)) => decrypted(object),
        Ok(Success::AppSet) => app_set(),
        Err(error) => failed(error),
    }
}

/// The answer to a failed call.
fn failed(error: &CallError) -> String {
    let (code, message, reason) = error.answer();
    write_answer(code, message, &reason, "\"\"")
}

/// The answer to a login.
fn logged_in(login: &LoggedIn) -> String {
    let message = if login.is_new { "NEW_SESSION_SUCCESS" } else { "UPDATE_SESSION_SUCCESS" };
    let mut data = String::from(r#"{"id":"#);
    json::push_string(&mut data, login.id.as_str());
    data.push_str(r#","skey":"#);
    json::push_string(&mut data, login.skey.as_str());
    let LoggedIn { profile, duration, .. } = login;
    let _ = write!(data, r#","user_info":{profile},"userInfo":{profile},"duration":{duration}}}"#);
    write_answer(0, message, "", &data)
}

/// The answer to a decryption; `object` is the decrypted object's text.
fn decrypted(object: &str) -> String {
    write_answer(0, "DECRYPT_SUCCESS", "", object)
}

/// The answer to `initdata` when it set the app.
fn app_set() -> String {
    write_answer(0, "INIT_APPINFO_SUCCESS", "", "\"\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::failure::{Failure, Refusal};

    #[test]
    fn answers_are_the_wires_bytes() {
        insta::assert_snapshot!(failed(&Failure::Auth(Refusal::UnknownIdOrWrongSkey).into()), @r#"{"returnCode":60012,"returnMessage":"AUTH_FAIL: unknown id or wrong skey","returnData":"","version":1,"componentName":"MA"}"#);
        insta::assert_snapshot!(failed(&CallError::NotJson), @r#"{"returnCode":1009,"returnMessage":"REQUEST_IS_NOT_JSON","returnData":"","version":1,"componentName":"MA"}"#);
        let login = LoggedIn {
            id: "i".into(),
            skey: "s".into(),
            is_new: true,
            appid: "wx1".into(),
            open_id: "o".into(),
            union_id: None,
            profile: r#"{"openId":"o"}"#.into(),
            duration: 7200,
        };
        insta::assert_snapshot!(logged_in(&login), @r#"{"returnCode":0,"returnMessage":"NEW_SESSION_SUCCESS","returnData":{"id":"i","skey":"s","user_info":{"openId":"o"},"userInfo":{"openId":"o"},"duration":7200},"version":1,"componentName":"MA"}"#);
    }
}
