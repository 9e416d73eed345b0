//! What goes wrong around the server: it is killed, the disk is full, the database is away.
//!
//! `MINA_AUTH_TEST_ROUNDS` says how often what is left to chance is tried, and
//! `MINA_AUTH_TEST_SEED` has the chance fall as it did before.

mod database;
mod disk;
mod kill;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::support::{Server, Session};

/// How many rounds a test with rounds has.
fn rounds() -> u32 {
    let given = std::env::var("MINA_AUTH_TEST_ROUNDS").ok();
    given.map_or(100, |rounds| rounds.parse().expect("`MINA_AUTH_TEST_ROUNDS` is a number"))
}

/// Tells the threads of a test that it is over, though it failed.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has known sessions checked for as long as `work` takes; each of the checks must succeed.
fn while_checking<T>(server: &Server, known: &[Session], work: impl FnOnce() -> T) -> T {
    let (done, checks) = (AtomicBool::new(false), AtomicU32::new(0));
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            for session in known.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS", "a known session");
                checks.fetch_add(1, Ordering::Relaxed);
            }
        });
        // The checks end with a failure of the work too.
        let _done = SetOnDrop(&done);
        work()
    });
    assert!(checks.into_inner() >= 10, "there were hardly any checks");
    outcome
}
