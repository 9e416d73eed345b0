#![no_main]

use mina_auth_fuzz::{lanes, write_corpus};

libfuzzer_sys::fuzz_target!(
    init: write_corpus("lanes", lanes::seeds()),
    |data: &[u8]| lanes::run(data)
);
