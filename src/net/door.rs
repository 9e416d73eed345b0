//! Who may connect, and how many at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::address::Peer;
use super::refusals::Reason;

/// Why a connection may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotAllowed,
    TooMany,
    TooManyOfAddress,
}

impl Refusal {
    /// What is said of it.
    #[must_use]
    pub fn reason(self) -> Reason {
        let (label, text) = match self {
            Self::NotAllowed => ("not_allowed", "connections were refused: not in `server.allow`"),
            Self::TooMany => {
                ("connections", "connections were refused: `limits.connections` are open")
            }
            Self::TooManyOfAddress => (
                "connections_per_address",
                "connections were refused: `limits.connections_per_address` of one are open",
            ),
        };
        Reason { label, text }
    }
}

/// Lets connections in. The threads of a listener share one.
#[derive(Debug)]
pub struct Door {
    allow: Vec<IpNet>,
    limit: usize,
    limit_per_address: usize,
    open: AtomicUsize,
    /// Counted only where there is a limit.
    open_by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Door {
    /// A door for these networks (none means everybody), so many connections at once, and so many
    /// from one address (0 is no limit).
    #[must_use]
    pub fn new(allow: Vec<IpNet>, limit: usize, limit_per_address: usize) -> Self {
        Self {
            allow,
            limit,
            limit_per_address,
            open: AtomicUsize::new(0),
            open_by_address: Mutex::default(),
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets a connection in.
    ///
    /// # Errors
    ///
    /// Why it may not come in.
    pub fn enter(self: &Arc<Self>, peer: Peer) -> Result<Pass, Refusal> {
        let address = match peer {
            Peer::Ip(address) => Some(address),
            Peer::Unix => None,
        };
        let is_allowed = |address| self.allow.iter().any(|network| network.contains(&address));
        if !self.allow.is_empty() && !address.is_none_or(is_allowed) {
            return Err(Refusal::NotAllowed);
        }
        // Dropped on every way out, and with it what it has counted.
        let mut pass = Pass { door: Arc::clone(self), counted: None };
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            return Err(Refusal::TooMany);
        }
        if let Some(address) = address.filter(|_| self.limit_per_address > 0) {
            let mut open = self.open_by_address();
            let open = open.entry(address).or_default();
            if *open >= self.limit_per_address {
                return Err(Refusal::TooManyOfAddress);
            }
            *open += 1;
            pass.counted = Some(address);
        }
        Ok(pass)
    }

    fn open_by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open_by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an open connection holds: its place in the counts.
#[derive(Debug)]
pub struct Pass {
    door: Arc<Door>,
    /// The address whose connections are counted.
    counted: Option<IpAddr>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.counted {
            let mut open = self.door.open_by_address();
            if let Some(count) = open.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(allow: &[&str], limit: usize, limit_per_address: usize) -> Arc<Door> {
        let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
        Arc::new(Door::new(allow, limit, limit_per_address))
    }

    fn peer(address: &str) -> Peer {
        Peer::Ip(address.parse().unwrap())
    }

    #[test]
    fn networks_that_are_not_allowed_stay_out() {
        let door = door(&["10.0.0.0/8", "::1/128"], 9, 0);
        for address in ["10.1.2.3", "::1"] {
            assert!(door.enter(peer(address)).is_ok(), "{address}");
        }
        for address in ["11.0.0.1", "::2", "127.0.0.1"] {
            assert_eq!(door.enter(peer(address)).unwrap_err(), Refusal::NotAllowed, "{address}");
        }
        assert!(door.enter(Peer::Unix).is_ok());
    }

    #[test]
    fn a_connection_that_ends_makes_room() {
        let door = door(&[], 2, 0);
        let first = door.enter(peer("10.0.0.1")).unwrap();
        let _second = door.enter(Peer::Unix).unwrap();
        for _ in 0..3 {
            assert_eq!(door.enter(peer("10.0.0.2")).unwrap_err(), Refusal::TooMany);
        }
        drop(first);
        assert!(door.enter(peer("10.0.0.2")).is_ok());
    }

    #[test]
    fn one_address_cannot_take_the_place_of_others() {
        let door = door(&[], 9, 2);
        let [first, second] = [(); 2].map(|()| door.enter(peer("10.0.0.1")).unwrap());
        for _ in 0..3 {
            assert_eq!(door.enter(peer("10.0.0.1")).unwrap_err(), Refusal::TooManyOfAddress);
        }
        let others = [peer("10.0.0.2"), Peer::Unix, Peer::Unix, Peer::Unix];
        assert!(others.map(|peer| door.enter(peer)).iter().all(Result::is_ok));
        drop(first);
        assert!(door.enter(peer("10.0.0.1")).is_ok());
        drop(second);
        assert!(door.open_by_address().is_empty());
    }
}
