#![no_main]

use mina_auth_fuzz::{stored_secret, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("stored_secret", stored_secret::seeds()),
    |data: &[u8]| stored_secret::run(data)
);
