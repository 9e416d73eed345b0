//! `mina-auth stats`

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::block_on;
use crate::admin::rates::{Rate, Summary};
use crate::clock;
use crate::config::Config;
use crate::session::AppId;
use crate::store::stats::{Range, Step};
use crate::store::{self, Opener};
use crate::wafer::codes::Meaning;

/// Up to here rows of a minute are summed up; for longer, rows of an hour.
const BY_MINUTE: Duration = Duration::from_hours(48);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How far to look back, such as 30m, 24h or 7d
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration, value_name = "SPAN")]
    since: Duration,
    /// Only what this app was asked
    #[arg(long, value_name = "APPID")]
    app: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, config: &Config) -> Result<()> {
    block_on(async {
        let store = store::open(&config.store()?, Opener::Using).await?;
        let step = if args.since <= BY_MINUTE { Step::Minute } else { Step::Hour };
        let now = clock::now();
        let since = i64::try_from(args.since.as_secs()).unwrap_or(i64::MAX);
        let from = step.start(now.saturating_sub(since).max(0));
        let appid = args.app.as_deref().map(AppId::from);
        let range = Range { step, from, to: i64::MAX, appid };
        let stats = store.stats(range, u32::MAX).await?;
        let summary = Printed(Summary::of(stats.iter().map(|stat| &stat.count)));
        let span = (clock::rfc3339(from), clock::rfc3339(now));
        if args.json {
            say!("{}", serde_json::to_string_pretty(&summary.to_json(&span))?)?;
        } else {
            summary.print(&span)?;
        }
        Ok(())
    })
}

/// A summary as it is printed.
struct Printed(Summary);

impl Printed {
    fn to_json(&self, (from, to): &(String, String)) -> Value {
        let rates = self.0.rates.iter().map(|((app, interface), rate)| {
            json!({
                "app": app,
                "interface": interface,
                "requests": rate.requests(),
                "succeeded": rate.succeeded,
                "callers": rate.callers,
                "failed": rate.failed,
                "success": rate.success(),
            })
        });
        let failures = self.0.failures().into_iter().map(|((app, interface, code), count)| {
            let Meaning { constant, is_callers, .. } = Meaning::of(*code);
            json!({
                "app": app,
                "interface": interface,
                "code": code,
                "constant": constant,
                "callers": is_callers,
                "count": count,
            })
        });
        let (rates, failures): (Vec<_>, Vec<_>) = (rates.collect(), failures.collect());
        json!({ "from": from, "to": to, "rates": rates, "failures": failures })
    }

    fn print(&self, (from, to): &(String, String)) -> Result<()> {
        say!("{from} to {to}, UTC\n")?;
        if self.0.rates.is_empty() {
            say!("no requests; the minute that runs is written when it is over")?;
            return Ok(());
        }
        let shown = |app: &str| if app.is_empty() { "(none)".to_owned() } else { app.to_owned() };
        say!(
            "{:<18}  {:<12}  {:>10}  {:>10}  {:>10}  {:>10}  {:>8}",
            "APP",
            "INTERFACE",
            "REQUESTS",
            "SUCCEEDED",
            "CALLER'S",
            "FAILED",
            "SUCCESS",
        )?;
        for ((app, interface), rate) in &self.0.rates {
            let success = rate.success().map_or("-".to_owned(), |rate| format!("{rate:.2} %"));
            let Rate { succeeded, callers, failed } = rate;
            say!(
                "{:<18}  {interface:<12}  {:>10}  {succeeded:>10}  {callers:>10}  {failed:>10}  {success:>8}",
                shown(app),
                rate.requests(),
            )?;
        }
        let failures = self.0.failures();
        if !failures.is_empty() {
            say!("\n{:>10}  {:<18}  {:<12}  {:>6}  WHAT", "FAILURES", "APP", "INTERFACE", "CODE")?;
        }
        for ((app, interface, code), count) in failures {
            let what = Meaning::of(*code).text;
            say!("{count:>10}  {:<18}  {interface:<12}  {code:>6}  {what}", shown(app))?;
        }
        Ok(())
    }
}
