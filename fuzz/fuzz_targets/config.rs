#![no_main]

use mina_auth_fuzz::{config, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("config", config::seeds()),
    |data: &[u8]| config::run(data)
);
