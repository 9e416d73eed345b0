//! Chance that can be had again.

use mina_auth::random;

/// A stream of random numbers, `SplitMix64`.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins with `MINA_AUTH_TEST_SEED`, else anywhere, and prints where: a failed test shows it.
    pub fn new() -> Self {
        let given = std::env::var("MINA_AUTH_TEST_SEED").ok();
        let seed = given.map_or_else(
            || u64::from_ne_bytes(random::bytes()),
            |seed| seed.parse().expect("`MINA_AUTH_TEST_SEED` is a number"),
        );
        println!("MINA_AUTH_TEST_SEED={seed}");
        Self(seed)
    }

    /// A stream of its own.
    pub fn branch(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below this one.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// The same, to count with.
    pub fn below_size(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, choices: &'a mut [T]) -> &'a mut T {
        let at = self.below_size(choices.len());
        &mut choices[at]
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
