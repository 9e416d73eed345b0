#![no_main]

use mina_auth_fuzz::{relay, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("relay", relay::seeds()),
    |data: &[u8]| relay::run(data)
);
