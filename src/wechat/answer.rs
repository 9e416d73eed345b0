//! WeChat's answers, as far as they are JSON.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::error::{ExchangeError, WeChatError};
use crate::json::Value;

/// What is said of a web page that came as an answer: WeChat's API has none.
const PAGE: &str = "is a web page, with HTTP status 200: something on the way answered in its place (a proxy, a \
                    portal, a wrong `wechat.base_url`)";

/// What some proxies put in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn without_mark(answer: &[u8]) -> &[u8] {
    answer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(answer)
}

/// Tells whether an answer is a web page, such as those of portals and proxies.
pub(super) fn is_page(answer: &[u8]) -> bool {
    without_mark(answer).trim_ascii_start().starts_with(b"<")
}

/// A text that is to be UTF-8 and is not: what can be read of it. In GBK a backslash may be half
/// of a character.
fn readable(answer: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * answer.len()));
    let mut after_invalid = false;
    for chunk in answer.utf8_chunks() {
        let valid = chunk.valid();
        text.push_str(valid.strip_prefix('\\').filter(|_| after_invalid).unwrap_or(valid));
        after_invalid = !chunk.invalid().is_empty();
        if after_invalid {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// What is not repeated of an answer: a text, and what stands in its place.
pub type Hidden<'a> = (&'a str, &'static str);

/// Reads an answer, or the error in it. No part of it is repeated but an errcode and its errmsg:
/// there may be a session_key in it. What WeChat was sent is `hidden` in these.
pub fn read<'a>(answer: &'a [u8], hidden: &[Hidden<'_>]) -> Result<Value<'a>, ExchangeError> {
    let answer = without_mark(answer);
    if is_page(answer) {
        return Err(ExchangeError::Malformed(PAGE));
    }
    if std::str::from_utf8(answer).is_err() {
        // An errmsg may be in any charset; the errcode beside it can be read all the same.
        read(readable(answer).as_bytes(), hidden)?;
        return Err(ExchangeError::Malformed("is not UTF-8"));
    }
    let answer = Value::parse(answer).map_err(|_| ExchangeError::Malformed("is not JSON"))?;
    let errcode = scalar(&answer, "errcode").map_or(Ok(0), |errcode| errcode.parse::<i64>());
    let errcode =
        errcode.map_err(|_| ExchangeError::Malformed("has an errcode that is no number"))?;
    if errcode == 0 {
        return Ok(answer);
    }
    let mut errmsg = scalar(&answer, "errmsg").unwrap_or_default().into_owned();
    // It goes into the log and the answer, so it must not repeat what WeChat was sent.
    for (text, in_its_place) in hidden.iter().filter(|(text, _)| !text.is_empty()) {
        errmsg = errmsg.replace(text, in_its_place);
    }
    let error = WeChatError { errcode, errmsg };
    let is_code = matches!(errcode, 40029 | 40163);
    Err(if is_code { ExchangeError::Code(error) } else { ExchangeError::Refused(error) })
}

/// A member's text, whatever kind of scalar it is.
pub fn scalar<'a>(answer: &Value<'a>, name: &str) -> Option<Cow<'a, str>> {
    answer.get(name).and_then(Value::as_scalar)
}

/// A member's text, which must be there.
pub fn text<'a>(answer: &Value<'a>, name: &str) -> Option<Cow<'a, str>> {
    scalar(answer, name).filter(|text| !text.is_empty())
}
