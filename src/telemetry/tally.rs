//! What requests came to, in numbers.
//!
//! Each listener thread counts for itself, behind a lock that nobody else wants until somebody
//! asks for the sum.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::failures::Failures;
use super::requests::Served;

/// The upper bounds of the buckets that durations are counted in, in microseconds. What takes
/// longer than the last is in none of them.
pub const BOUNDS: [u64; 18] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// The tallies of all threads, and what failed on any of them of late.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    threads: Arc<Mutex<Vec<Arc<Tally>>>>,
    failures: Arc<Failures>,
}

impl Tallies {
    /// A tally for one more thread.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        let failures = Arc::clone(&self.failures);
        let tally = Arc::new(Tally { counted: Mutex::default(), failures });
        lock(&self.threads).push(Arc::clone(&tally));
        tally
    }

    /// What failed of late.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// What all of them have counted since the start.
    #[must_use]
    pub fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        let tallies = lock(&self.threads).clone();
        for tally in tallies {
            // Copied, so that its thread waits no longer than that.
            let counted = lock(&tally.counted).clone();
            for Counted { interface, code, app, times } in counted {
                let interface = label(interface);
                *sum.requests.entry(Kind { interface, code, app }).or_default() += times.count;
                sum.times.entry(interface).or_default().add(&times);
            }
        }
        sum
    }
}

/// What an interface is called in numbers: the Wafer protocol's prefix says nothing there.
fn label(interface: &'static str) -> &'static str {
    match interface {
        "" => "unreadable",
        name => name.strip_prefix("qcloud.cam.").unwrap_or(name),
    }
}

/// What one thread has counted. There are few kinds of requests, and those that come most are in
/// front.
#[derive(Debug, Default)]
pub struct Tally {
    counted: Mutex<Vec<Counted>>,
    failures: Arc<Failures>,
}

/// Requests of a kind.
#[derive(Debug, Clone)]
struct Counted {
    interface: &'static str,
    code: u32,
    app: Box<str>,
    times: Times,
}

impl Tally {
    /// Counts a request.
    pub fn count(&self, served: &Served<'_>) {
        let interface = served.interface;
        let app = served.app.unwrap_or_default();
        let code = served.failure.as_ref().map_or(0, |failed| {
            self.failures.note(served.at, label(interface), app, failed);
            failed.code
        });
        let mut counted = lock(&self.counted);
        let is_it = |other: &Counted| {
            other.code == code && *other.app == *app && other.interface == interface
        };
        let at = counted.iter().position(is_it).unwrap_or_else(|| {
            counted.push(Counted { interface, code, app: app.into(), times: Times::default() });
            counted.len() - 1
        });
        counted[at].times.count(served.took);
        if at > 0 && counted[at - 1].times.count < counted[at].times.count {
            counted.swap(at - 1, at);
        }
    }
}

/// Requests and what they took.
#[derive(Debug, Default)]
pub struct Counts {
    pub requests: HashMap<Kind, u64>,
    /// By interface.
    pub times: HashMap<&'static str, Times>,
}

/// Requests that an interface answered with this code for an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kind {
    pub interface: &'static str,
    pub code: u32,
    /// Empty where it is not known.
    pub app: Box<str>,
}

/// How long requests took.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// How many took no longer than each of [`BOUNDS`], and longer than the one before.
    pub buckets: [u64; BOUNDS.len()],
    pub count: u64,
    pub micros: u64,
}

impl Times {
    fn count(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(at) = BOUNDS.iter().position(|bound| micros <= *bound) {
            self.buckets[at] += 1;
        }
        self.count += 1;
        self.micros = self.micros.saturating_add(micros);
    }

    fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.micros = self.micros.saturating_add(other.micros);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn served(interface: &'static str, app: Option<&'static str>, micros: u64) -> Served<'static> {
        let took = Duration::from_micros(micros);
        Served { at: SystemTime::UNIX_EPOCH, took, interface, app, failure: None }
    }

    #[test]
    fn threads_are_summed_up() {
        let tallies = Tallies::default();
        let threads = [tallies.tally(), tallies.tally()];
        for thread in &threads {
            thread.count(&served("qcloud.cam.auth", Some("wx1"), 20));
            thread.count(&served("qcloud.cam.auth", Some("wx2"), 60));
        }
        threads[1].count(&served("qcloud.cam.auth", Some("wx2"), 20_000_000));
        threads[1].count(&served("", None, 25));
        let sum = tallies.sum();
        let mut counts: Vec<_> = sum
            .requests
            .iter()
            .map(|(kind, n)| (kind.interface, &*kind.app, kind.code, *n))
            .collect();
        counts.sort_unstable();
        let auth = [("auth", "wx1", 0, 2), ("auth", "wx2", 0, 3)];
        assert_eq!(counts, [&auth[..], &[("unreadable", "", 0, 1)]].concat());
        let times = &sum.times["auth"];
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[2]), (2, 0, 2));
        assert_eq!((times.count, times.buckets.iter().sum::<u64>()), (5, 4), "one took too long");
        assert_eq!(times.micros, 20_000_160);
    }

    #[test]
    fn what_comes_most_is_found_first() {
        let tally = Tally::default();
        tally.count(&served("login", None, 1));
        tally.count(&served("qcloud.cam.auth", None, 1));
        tally.count(&served("qcloud.cam.auth", None, 1));
        assert_eq!(lock(&tally.counted)[0].interface, "qcloud.cam.auth");
    }
}
