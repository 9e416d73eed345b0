#![no_main]

use mina_auth_fuzz::{envelope, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("envelope", envelope::seeds()),
    |data: &[u8]| envelope::run(data)
);
