//! JSON objects whose values stay as they were written.

use std::borrow::Cow;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{self, Value};

/// A JSON object in a request. Big numbers and escapes reach the mini program as they were sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Box<RawValue>")]
pub(super) struct Object(Arc<str>);

impl TryFrom<Box<RawValue>> for Object {
    type Error = &'static str;

    fn try_from(text: Box<RawValue>) -> Result<Self, Self::Error> {
        match Value::parse(text.get().as_bytes()) {
            Ok(value) if value.is_object() => Ok(Self(text.get().into())),
            _ => Err("expected a JSON object"),
        }
    }
}

/// The members of an object: names, and values as they are written.
pub(super) type Members<'a> = IndexMap<Cow<'a, str>, Cow<'a, str>>;

impl Object {
    pub(super) fn members(&self) -> Members<'_> {
        let mut members = Members::new();
        // Parsed once already, so it cannot fail.
        let _ = Value::parse_members(self.0.as_bytes(), |reader, name| {
            let value = reader.value()?.text();
            members.insert(name.to_owned().into(), value.into());
            Ok(())
        });
        members
    }
}

/// Writes the object with these members.
pub(super) fn write<'a>(
    members: impl IntoIterator<Item = (&'a Cow<'a, str>, &'a Cow<'a, str>)>,
) -> String {
    let mut object = String::from("{");
    for (name, value) in members {
        let separator = if object.len() > 1 { "," } else { "" };
        object.push_str(separator);
        json::push_string(&mut object, name);
        object.push(':');
        object.push_str(value);
    }
    object.push('}');
    object
}

/// Writes a value that is text.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    json::push_string(&mut quoted, text);
    quoted
}
