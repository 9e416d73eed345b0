//! The fuzz targets for seconds, without libFuzzer: every seed, then seeds with random changes.
//! `make fuzz` runs them for long.

use std::time::{Duration, Instant};

use crate::support::Chance;

#[expect(dead_code, reason = "libFuzzer keeps the seeds in files")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

const FOR: Duration = Duration::from_secs(3);

/// Shows what was run when it failed.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the input was b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn fuzz(seeds: &[Vec<u8>], run: fn(&[u8])) {
    let run = |input: &[u8]| {
        let _shown = Shown(input);
        run(input);
    };
    for seed in seeds {
        run(seed);
    }
    let mut chance = Chance::new();
    let (end, mut count) = (Instant::now() + FOR, seeds.len());
    while Instant::now() < end {
        let mut input = seeds[chance.below_size(seeds.len())].clone();
        for _ in 0..=chance.below(4) {
            change(&mut input, seeds, &mut chance);
        }
        run(&input);
        count += 1;
    }
    println!("{count} inputs");
}

/// Changes one thing: a byte, a piece that is gone, repeated or of another seed.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below_size(input.len() + 1);
    let end = (at + 1 + chance.below_size(16)).min(input.len());
    match chance.below(4) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 => drop(input.drain(at..end)),
        2 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
        _ => {
            let other = &seeds[chance.below_size(seeds.len())];
            let from = chance.below_size(other.len() + 1);
            let piece = other[from..].iter().copied().take(1 + chance.below_size(32));
            input.splice(at..end, piece.collect::<Vec<_>>()).for_each(drop);
        }
    }
}

#[test]
fn the_envelope() {
    fuzz(&targets::envelope::seeds(), targets::envelope::run);
}

#[test]
fn open_data() {
    fuzz(&targets::open_data::seeds(), targets::open_data::run);
}

#[test]
fn headers() {
    fuzz(&targets::headers::seeds(), targets::headers::run);
}

#[test]
fn lanes() {
    fuzz(&targets::lanes::seeds(), targets::lanes::run);
}

#[test]
fn relay() {
    fuzz(&targets::relay::seeds(), targets::relay::run);
}

#[test]
fn config() {
    fuzz(&targets::config::seeds(), targets::config::run);
}

#[test]
fn stored_secrets() {
    fuzz(&targets::stored_secret::seeds(), targets::stored_secret::run);
}
