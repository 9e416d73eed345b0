//! `mina-auth import`

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;

use super::block_on;
use crate::clock;
use crate::config::Config;
use crate::secrets::Keys;
use crate::session::Session;
use crate::store::import::Imported;
use crate::store::mysql::{self, OpenError, Skip, Source};
use crate::store::{self, Opener, Store};

/// How many sessions are written in one go: few at first, to see that it works, and then more and
/// more, since what many share is written once.
const BATCH: std::ops::RangeInclusive<usize> = 1_000..=20_000;

/// How long the database to read from may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Wafer database to read, mysql://USER:PASSWORD@HOST:PORT/DATABASE; it is not changed
    #[arg(long, value_name = "URL", env = "MINA_AUTH_IMPORT_FROM", hide_env_values = true)]
    from: String,
    /// The zone of the datetimes there [default: as that database remembers]
    #[arg(long, value_name = "+HH:MM", allow_hyphen_values = true)]
    time_zone: Option<String>,
    /// The app of the sessions there that name none [default: the only one]
    #[arg(long, value_name = "APPID")]
    legacy_appid: Option<String>,
    /// Read and count, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    fn settings(&self, config: &Config) -> Result<mysql::Settings> {
        // Not parsed by clap, whose message would show the password.
        let url = self.from.parse().map_err(anyhow::Error::msg).context("`--from`")?;
        let zone = self.time_zone.as_deref().map(str::parse).transpose();
        Ok(mysql::Settings {
            url,
            keys: config.secrets.keys()?.unwrap_or_else(Keys::none),
            time_zone: zone.map_err(anyhow::Error::msg).context("`--time-zone`")?,
            legacy_appid: self.legacy_appid.as_deref().map(Into::into),
            shared_with_php: false,
            leave_php: false,
            serves: false,
            max_connections: 1,
            timeout: TIMEOUT,
        })
    }
}

pub fn run(args: &Args, config: &Config) -> Result<()> {
    let settings = args.settings(config)?;
    let into = config.store()?;
    if let store::Settings::Mysql(into) = &into {
        ensure!(into.url != settings.url, "`--from` is the store itself (`storage.url`)");
    }
    block_on(async {
        let source = Source::open(&settings).await.map_err(explain)?;
        if args.dry_run {
            let summary = copy(source, None).await?;
            summary.print("would be imported")?;
            return Ok(());
        }
        let store = store::open(&into, Opener::Creating).await?;
        copy_apps(&source, &*store).await?;
        let summary = copy(source, Some(&*store)).await?;
        summary.print(&format!("were imported into {}", config.storage.url))?;
        Ok(())
    })
}

fn explain(error: OpenError) -> anyhow::Error {
    let hint = match &error {
        OpenError::NoZone => "give the zone with `--time-zone`",
        _ => "the database of `--from` cannot be read",
    };
    anyhow::Error::new(error).context(hint)
}

/// Copies the apps that the store does not have.
async fn copy_apps(source: &Source, store: &dyn Store) -> Result<()> {
    let known = store.apps().await?;
    for app in source.apps() {
        if known.iter().any(|known| known.appid == app.appid) {
            say!("the app {} is there already and stays as it is", app.appid)?;
        } else {
            store.put_app(app).await?;
            say!("the app {} was imported", app.appid)?;
        }
    }
    Ok(())
}

/// What became of the sessions.
#[derive(Debug, Default)]
struct Summary {
    imported: BTreeMap<&'static str, u64>,
    skipped: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn count(&mut self, imported: Imported) {
        let (of, what) = match imported {
            Imported::Added => (&mut self.imported, "new"),
            Imported::Renewed => (&mut self.imported, "logged in again there"),
            Imported::Known => (&mut self.skipped, "here already"),
            Imported::Superseded => {
                (&mut self.skipped, "of users who logged in or were logged out here since")
            }
        };
        *of.entry(what).or_default() += 1;
    }

    fn skip(&mut self, skip: Skip) {
        let why = match skip {
            Skip::Empty => "without an id, skey or openid",
            Skip::NoApp => "of no known app",
            Skip::Expired => "expired",
        };
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Says what was skipped and why, and what became of the others.
    fn print(&self, what: &str) -> Result<()> {
        for (why, count) in &self.skipped {
            say!("{count} skipped: {why}")?;
        }
        let parts: Vec<_> =
            self.imported.iter().map(|(which, count)| format!("{count} {which}")).collect();
        let total: u64 = self.imported.values().sum();
        if parts.is_empty() {
            return Ok(say!("{total} sessions {what}")?);
        }
        Ok(say!("{total} sessions ({}) {what}", parts.join(", "))?)
    }
}

/// Some rows that were read.
#[derive(Debug, Default)]
struct Batch {
    sessions: Vec<Session>,
    skipped: Vec<Skip>,
}

impl Batch {
    fn add(&mut self, row: Result<Session, Skip>) {
        match row {
            Ok(session) => self.sessions.push(session),
            Err(skip) => self.skipped.push(skip),
        }
    }

    fn rows(&self) -> usize {
        self.sessions.len() + self.skipped.len()
    }
}

/// Reads and writes side by side. Without a store everything counts as new.
async fn copy(mut source: Source, store: Option<&dyn Store>) -> Result<Summary> {
    let mut progress = Progress::new(source.count().await?);
    let (sender, mut batches) = mpsc::channel::<Batch>(2);
    let mut summary = Summary::default();
    let reading = async {
        let mut batch = Batch::default();
        let mut full = *BATCH.start();
        let on_row = async |row: Result<Session, Skip>| {
            batch.add(row);
            if batch.rows() < full {
                return true;
            }
            full = (full * 2).min(*BATCH.end());
            sender.send(std::mem::take(&mut batch)).await.is_ok()
        };
        source.read(clock::now(), on_row).await?;
        // Nobody takes it when writing has failed, which is reported.
        let _ = sender.send(batch).await;
        drop(sender);
        Ok::<_, anyhow::Error>(())
    };
    let writing = async {
        while let Some(batch) = batches.recv().await {
            let rows = batch.rows();
            batch.skipped.into_iter().for_each(|skip| summary.skip(skip));
            match store {
                Some(store) => {
                    for imported in store.import(batch.sessions).await? {
                        summary.count(imported);
                    }
                }
                None => batch.sessions.iter().for_each(|_| summary.count(Imported::Added)),
            }
            progress.advance(rows);
        }
        Ok(())
    };
    tokio::try_join!(reading, writing)?;
    progress.end();
    Ok(summary)
}

/// A line on a terminal that says how far the work is.
struct Progress {
    total: u64,
    done: u64,
    started: Instant,
    shown: bool,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self { total, done: 0, started: Instant::now(), shown: stderr().is_terminal() }
    }

    /// Counts rows, imported or skipped.
    fn advance(&mut self, rows: usize) {
        self.done += rows as u64;
        if self.shown {
            // What cannot be shown is no reason to stop.
            let _ = write!(stderr(), "\r{}", line(self.done, self.total, self.started.elapsed()));
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = writeln!(stderr());
        }
        eprintln!("{}", sum(self.done, self.started.elapsed()));
    }
}

fn rate(done: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(done) * 1_000_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// What was done in all. Less than a second of work says nothing about its rate.
fn sum(done: u64, elapsed: Duration) -> String {
    let sum = format!("{done} sessions in {elapsed:.1?}");
    if elapsed < Duration::from_secs(1) { sum } else { format!("{sum}, {}/s", rate(done, elapsed)) }
}

/// The line, which is never shorter than the one before. Rows that came since the count was taken
/// count as well.
fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let total = total.max(done);
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let bar = "=".repeat(usize::try_from(percent / 4).unwrap_or_default());
    let rate = rate(done, elapsed);
    format!("[{bar:<25}] {percent:>3} %  {done:>9} of {total}  {rate:>6}/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_where_there_is_one() {
        let sum = |done, micros| sum(done, Duration::from_micros(micros));
        assert_eq!(sum(4, 366), "4 sessions in 366.0µs");
        assert_eq!(sum(999_999, 1_999_900), "999999 sessions in 2.0s, 500024/s");
    }

    #[test]
    fn the_line_goes_from_nothing_to_all() {
        let second = Duration::from_secs(1);
        let lines = [(0, 0), (0, 80_000), (2_000, 80_000), (80_000, 80_000), (80_001, 80_000)];
        let lines = lines.map(|(done, total)| line(done, total, second));
        assert_eq!(
            lines.join("\n"),
            "\
[=========================] 100 %          0 of 0       0/s
[                         ]   0 %          0 of 80000       0/s
[                         ]   2 %       2000 of 80000    2000/s
[=========================] 100 %      80000 of 80000   80000/s
[=========================] 100 %      80001 of 80001   80001/s"
        );
    }
}
