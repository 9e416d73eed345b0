#![no_main]

use mina_auth_fuzz::{headers, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("headers", headers::seeds()),
    |data: &[u8]| headers::run(data)
);
