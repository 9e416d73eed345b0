#![no_main]

use mina_auth_fuzz::{open_data, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("open_data", open_data::seeds()),
    |data: &[u8]| open_data::run(data)
);
