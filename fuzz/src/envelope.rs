//! The body of a request: read as `serde_json` reads it, and refused with a proper answer.

use mina_auth::json::{self, Value};
use mina_auth::wafer::answer::answered;
use mina_auth::wafer::request::{self, Call};

use super::seeds::{Step, steps};

pub fn seeds() -> Vec<Vec<u8>> {
    steps().iter().map(Step::body).collect()
}

pub fn run(data: &[u8]) {
    let theirs = serde_json::from_slice::<serde_json::Value>(data);
    match (Value::parse(data), &theirs) {
        (Ok(ours), Ok(theirs)) => agree(ours, theirs),
        (Err(error), Ok(_)) => panic!("{error}, and serde_json reads it"),
        (Ok(_), Err(error)) => assert!(is_stricter(error), "serde_json: {error}"),
        (Err(_), Err(_)) => {}
    }
    match request::parse(data) {
        Ok(request) => {
            if let (Call::Auth { id, .. }, Ok(theirs)) = (&request.call, &theirs) {
                let sent = &theirs["interface"]["para"]["id"];
                assert!(!sent.is_string() || sent == &**id, "{sent} was read as {id:?}");
            }
        }
        Err((_, error)) => {
            let answer = answered(&Err(error));
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("it is JSON");
            assert!(answer["returnCode"].as_u64().is_some_and(|code| code > 1000), "{answer}");
        }
    }
}

/// Numbers of any size and more levels are ours alone: the protocol wants them read.
fn is_stricter(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    text.starts_with("number out of range") || text.starts_with("recursion limit exceeded")
}

/// Both read the same.
fn agree(ours: Value<'_>, theirs: &serde_json::Value) {
    assert_eq!(ours.is_null(), theirs.is_null());
    assert_eq!(ours.as_str().as_deref(), theirs.as_str());
    assert_eq!(ours.is_object(), theirs.is_object());
    assert_eq!(
        ours.as_scalar().is_none(),
        theirs.is_null() || theirs.is_array() || theirs.is_object()
    );
    if let Some(text) = theirs.as_str() {
        let mut written = String::new();
        json::push_string(&mut written, text);
        assert_eq!(serde_json::from_str::<String>(&written).ok().as_deref(), Some(text));
    }
    for (name, theirs) in theirs.as_object().into_iter().flatten() {
        agree(ours.get(name).unwrap_or_else(|| panic!("`{name}` was not found")), theirs);
    }
}
