//! Success rates, and the reasons of failures.

use std::collections::BTreeMap;

use crate::store::stats::Count;
use crate::wafer::codes::Meaning;

/// How requests went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub succeeded: u64,
    /// Failed for what the caller did: such a code, such a session.
    pub callers: u64,
    /// Failed for anything else.
    pub failed: u64,
}

impl Rate {
    /// Counts requests that came to this code.
    pub fn add(&mut self, code: u32, count: u64) {
        match code {
            0 => self.succeeded += count,
            code if Meaning::of(code).is_callers => self.callers += count,
            _ => self.failed += count,
        }
    }

    #[must_use]
    pub const fn requests(self) -> u64 {
        self.succeeded + self.callers + self.failed
    }

    /// Percent of those that could succeed; `None` where there were none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody reads so many digits")]
    pub fn success(self) -> Option<f64> {
        let could = self.succeeded + self.failed;
        (could > 0).then(|| self.succeeded as f64 / could as f64 * 100.0)
    }
}

/// What requests came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// By app and interface.
    pub rates: BTreeMap<(String, String), Rate>,
    /// By app, interface and code.
    failures: BTreeMap<(String, String, u32), u64>,
}

impl Summary {
    pub fn of<'a>(counts: impl IntoIterator<Item = &'a Count>) -> Self {
        let mut summary = Self::default();
        for count in counts {
            let app = count.appid_text().to_owned();
            let Count { interface, code, count, .. } = count;
            summary.rates.entry((app.clone(), interface.clone())).or_default().add(*code, *count);
            if *code != 0 {
                *summary.failures.entry((app, interface.clone(), *code)).or_default() += count;
            }
        }
        summary
    }

    /// Most frequent first.
    #[must_use]
    pub fn failures(&self) -> Vec<(&(String, String, u32), u64)> {
        let mut failures: Vec<_> =
            self.failures.iter().map(|(what, count)| (what, *count)).collect();
        failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        failures
    }
}
