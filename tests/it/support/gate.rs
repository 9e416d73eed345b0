//! A gate: it holds threads back until a test lets them go on.

use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// Closed at first. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through from now on.
    pub fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap() = true;
        changed.notify_all();
    }

    /// Returns once the gate is open.
    pub fn pass(&self) {
        let (open, changed) = &*self.0;
        let guard = open.lock().unwrap();
        drop(changed.wait_timeout_while(guard, PATIENCE, |open| !*open).unwrap());
    }
}
