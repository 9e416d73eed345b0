//! What stands in a database: skeys, hashed or plain, and secrets, sealed or plain.

use mina_auth::secrets::{Key, Keys, Place};
use mina_auth::session::StoredSkey;
use secrecy::ExposeSecret as _;

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// A secret of `PLACE` that was sealed under the first key.
const SEALED: &str = "aes256gcm:1:02d449a3:WvBUWQ9UxfVAbTR3MesN3be20DxImLLHdbl4-zcGT03JHTqhLOrM6i8";
const PLACE: Place<'_> = Place::SessionKey(["wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"]);

pub fn seeds() -> Vec<Vec<u8>> {
    let skey = "0123456789abcdef0123456789abcdef";
    let hash = StoredSkey::Plain(skey.into()).hashed().text().into_owned();
    [SEALED, &hash, skey, ONE, "tiihtNczf5v6AKRyjwEUhQ=="].map(Into::into).to_vec()
}

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    skey(text);
    let _: Result<Key, _> = text.parse();
    opens_only_what_was_sealed(text);
    stays_in_its_place(text);
}

/// A stored text is kept as it is, and is no key to itself when it is a hash.
fn skey(text: &str) {
    let stored = StoredSkey::read(text);
    assert_eq!(stored.text(), text);
    let is_hash = text.starts_with("sha256:");
    assert_eq!(stored.matches(text), !is_hash);
    assert_eq!(stored.hashed().matches(text), !is_hash);
    assert!(!stored.matches(&stored.hashed().text()));
    assert_eq!(StoredSkey::read(&stored.hashed().text()), stored.hashed());
}

fn opens_only_what_was_sealed(text: &str) {
    match keys([ONE, TWO]).open(text, PLACE) {
        Ok(opened) if text.starts_with("aes256gcm:") => {
            assert_eq!((text, opened.expose_secret()), (SEALED, "a session key"));
        }
        Ok(plain) => assert_eq!(plain.expose_secret(), text),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}

/// A sealed secret opens in its place, under its key, and nowhere else.
fn stays_in_its_place(secret: &str) {
    let (old, both) = (keys([ONE]), keys([TWO, ONE]));
    let middle = secret.floor_char_boundary(secret.len() / 2);
    let (app, user) = secret.split_at(middle);
    let place = Place::SessionKey([app, user]);
    let sealed = old.seal(secret, place);
    let data = sealed.rsplit(':').next().unwrap_or_default();
    assert!(!data.contains(secret) || secret.len() < 8, "{sealed}");
    let renewed = both.reseal(&sealed, place).expect("it opens");
    // What is empty is left as it is.
    for (keys, sealed) in [(&old, &sealed), (&both, renewed.as_ref().unwrap_or(&sealed))] {
        let opened = keys.open(sealed, place).expect("it opens");
        assert_eq!(opened.expose_secret(), secret);
        assert_eq!(keys.reseal(sealed, place), Ok(None));
        let elsewhere = [
            Place::AppSecret(app),
            Place::PreviousSessionKey([app, user]),
            Place::LegacySessionKey(user),
            Place::SessionKey([secret, ""]),
            Place::SessionKey(["", secret]),
        ];
        let same = |other: Place<'_>| format!("{other:?}") == format!("{place:?}");
        for other in elsewhere.into_iter().filter(|other| !same(*other)) {
            assert!(keys.open(sealed, other).is_err(), "{other:?}");
        }
    }
    assert!(keys([TWO]).open(&sealed, place).is_err());
}

fn keys<const N: usize>(texts: [&str; N]) -> Keys {
    let keys = texts.map(|text| text.parse().expect("it is a key"));
    Keys::new(keys.into(), "the fuzz target")
}
