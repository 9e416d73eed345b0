//! What is fuzzed, and what must hold: a file each, with the input to begin with.
//!
//! `make fuzz` runs them for long, under libFuzzer; `tests/it/fuzz.rs` runs them for seconds.

pub mod config;
pub mod envelope;
pub mod headers;
pub mod lanes;
pub mod open_data;
pub mod relay;
mod seeds;
mod server;
pub mod stored_secret;

/// Writes the seeds where libFuzzer begins.
pub fn write_corpus(target: &str, seeds: Vec<Vec<u8>>) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&directory).expect("the corpus can be written");
    for (number, seed) in seeds.into_iter().enumerate() {
        let file = directory.join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("the corpus can be written");
    }
}
