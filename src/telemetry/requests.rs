//! The line of each request.
//!
//! At a hundred thousand requests a second formatting and writing it by `tracing` would cost as
//! much as the requests. [`RequestLog`] writes the same lines many at a time. Requests that are
//! refused in an overload share a line: the log must not be what everybody waits for.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{Write as _, stderr};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;
use tracing::warn;

use super::tally::Tally;
use super::{Format, Log, format, level_filter};
use crate::json;
use crate::operations::failure::Concern;

/// How long a request's line may wait for others.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// How much may wait: more is written at once.
const FLUSH_AT: usize = 32 * 1024;

/// What the log says of a request.
#[derive(Debug)]
pub struct Served<'a> {
    /// When it was answered.
    pub at: SystemTime,
    pub took: Duration,
    /// The name of what was called; empty where that is not known.
    pub interface: &'static str,
    pub app: Option<&'a str>,
    pub failure: Option<Failed>,
}

/// What the log says of a request that failed.
#[derive(Debug)]
pub struct Failed {
    pub code: u32,
    /// The code's constant.
    pub answer: &'static str,
    /// What the caller is told beyond that.
    pub reason: Cow<'static, str>,
    /// What only the log is told.
    pub cause: Option<Cow<'static, str>>,
    pub concern: Concern,
    /// Whether it was refused unseen: there may be any number of these, and one is like another.
    pub is_shed: bool,
}

impl Failed {
    /// The cause, where the reason does not say it already.
    pub(super) fn untold_cause(&self) -> Option<&str> {
        let told = |cause: &&str| !self.reason.is_empty() && cause.ends_with(&*self.reason);
        self.cause.as_deref().filter(|cause| !told(cause))
    }
}

/// The lines of the requests that one listener thread serves, and what they come to in numbers.
#[derive(Debug)]
pub struct RequestLog {
    tally: Arc<Tally>,
    level: LevelFilter,
    format: Format,
    lines: Mutex<Lines>,
    waiting: Notify,
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    /// Requests that were refused unseen, each kind with its number.
    shed: Vec<(Failed, u64)>,
    /// The second that was last written out, and how: most lines share it with the one before.
    second: u64,
    written_second: String,
}

impl RequestLog {
    /// Makes a log that writes at the level and in the format of the settings, and counts there.
    #[must_use]
    pub fn new(log: &Log, tally: Arc<Tally>) -> Self {
        Self {
            tally,
            level: level_filter(log.level),
            format: format(log),
            lines: Mutex::default(),
            waiting: Notify::new(),
        }
    }

    /// Counts a request and logs it, at a level that says whose business it is.
    pub fn request(&self, served: Served<'_>) {
        self.tally.count(&served);
        let level = match served.failure.as_ref().map(|failed| failed.concern) {
            None | Some(Concern::Caller) => LevelFilter::INFO,
            Some(Concern::Passing) => LevelFilter::WARN,
            Some(Concern::Operator) => LevelFilter::ERROR,
        };
        if level > self.level {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.text.is_empty() && lines.shed.is_empty() {
            self.waiting.notify_one();
        }
        let served = match served.failure {
            Some(failed) if failed.is_shed => return lines.count_shed(failed),
            failure => Served { failure, ..served },
        };
        // Writing to a String cannot fail.
        let _ = match self.format {
            Format::Json => write_json(&mut lines, level, &served),
            Format::Human => write_human(&mut lines, level, &served),
        };
        if lines.text.len() >= FLUSH_AT {
            lines.write_out();
        }
    }

    /// Writes what waits, soon after it came, for as long as it is polled.
    pub async fn keep_writing(&self) {
        loop {
            self.waiting.notified().await;
            tokio::time::sleep(FLUSH_AFTER).await;
            self.flush();
        }
    }

    /// Writes what waits.
    pub fn flush(&self) {
        let shed = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.write_out();
            take(&mut lines.shed)
        };
        for (failed, count) in shed {
            let cause = failed.untold_cause();
            let Failed { code, answer, reason, .. } = &failed;
            warn!(code, answer, %reason, cause, count, "requests were refused");
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Lines {
    fn count_shed(&mut self, failed: Failed) {
        let is_like = |other: &Failed| other.code == failed.code && other.reason == failed.reason;
        match self.shed.iter_mut().find(|(counted, _)| is_like(counted)) {
            Some((_, count)) => *count += 1,
            None => self.shed.push((failed, 1)),
        }
    }

    fn write_out(&mut self) {
        // There is nobody to tell when stderr is gone.
        let _ = stderr().write_all(self.text.as_bytes());
        self.text.clear();
    }

    /// Appends an instant as RFC 3339 in UTC, `2026-11-22T14:17:26.356476Z`.
    fn push_time(&mut self, at: SystemTime) -> fmt::Result {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.written_second.is_empty() {
            self.second = since.as_secs();
            self.written_second = humantime::format_rfc3339_seconds(at).to_string();
            // The `Z` comes after the fraction.
            self.written_second.pop();
        }
        self.text.push_str(&self.written_second);
        write!(self.text, ".{:06}Z", since.subsec_micros())
    }
}

fn write_json(lines: &mut Lines, level: LevelFilter, served: &Served<'_>) -> fmt::Result {
    lines.text.push_str(r#"{"timestamp":""#);
    lines.push_time(served.at)?;
    let out = &mut lines.text;
    out.push_str(r#"","level":""#);
    out.push_str(level_name(level));
    out.push_str(r#"","message":"request","interface":""#);
    out.push_str(served.interface);
    out.push_str(r#"","code":"#);
    let failed = served.failure.as_ref();
    out.push_str(itoa::Buffer::new().format(failed.map_or(0, |failed| failed.code)));
    if let Some(app) = served.app {
        out.push_str(r#","app":"#);
        json::push_string(out, app);
    }
    out.push_str(r#","micros":"#);
    out.push_str(itoa::Buffer::new().format(micros(served.took)));
    if let Some(Failed { answer, reason, .. }) = failed {
        for (name, text) in [("answer", *answer), ("reason", reason)] {
            write!(out, r#","{name}":"#)?;
            json::push_string(out, text);
        }
    }
    if let Some(cause) = failed.and_then(Failed::untold_cause) {
        out.push_str(r#","cause":"#);
        json::push_string(out, cause);
    }
    out.push_str("}\n");
    Ok(())
}

fn write_human(lines: &mut Lines, level: LevelFilter, served: &Served<'_>) -> fmt::Result {
    lines.push_time(served.at)?;
    let out = &mut lines.text;
    write!(out, " {:>5} request", level_name(level))?;
    write!(out, " interface={:?}", served.interface)?;
    let failed = served.failure.as_ref();
    write!(out, " code={}", failed.map_or(0, |failed| failed.code))?;
    if let Some(app) = served.app {
        write!(out, " app={app:?}")?;
    }
    write!(out, " micros={}", micros(served.took))?;
    if let Some(Failed { answer, reason, .. }) = failed {
        write!(out, " answer={answer:?} reason={reason:?}")?;
    }
    if let Some(cause) = failed.and_then(Failed::untold_cause) {
        write!(out, " cause={cause:?}")?;
    }
    out.push('\n');
    Ok(())
}

fn level_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::ERROR => "ERROR",
        LevelFilter::WARN => "WARN",
        _ => "INFO",
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Level, LogFormat};

    fn log(format: LogFormat) -> RequestLog {
        RequestLog::new(&Log { level: Level::Info, format }, Arc::default())
    }

    fn served(failure: Option<Failed>) -> Served<'static> {
        Served {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_357_046_356_476),
            took: Duration::from_micros(42),
            interface: "qcloud.cam.auth",
            app: Some("wx1"),
            failure,
        }
    }

    fn failed(reason: &'static str, concern: Concern) -> Failed {
        Failed {
            code: 60012,
            answer: "AUTH_FAIL",
            reason: reason.into(),
            cause: None,
            concern,
            is_shed: false,
        }
    }

    /// Takes the lines, which the log would write at its end.
    fn lines(log: &RequestLog) -> String {
        take(&mut log.lines.lock().unwrap().text)
    }

    #[test]
    fn a_request_is_one_line() {
        let json = log(LogFormat::Json);
        json.request(served(None));
        insta::assert_snapshot!(lines(&json), @r#"{"timestamp":"2026-11-22T14:17:26.356476Z","level":"INFO","message":"request","interface":"qcloud.cam.auth","code":0,"app":"wx1","micros":42}"#);
        let human = log(LogFormat::Human);
        human.request(served(Some(failed("unknown id or wrong skey", Concern::Caller))));
        insta::assert_snapshot!(lines(&human), @r#"2026-11-22T14:17:26.356476Z  INFO request interface="qcloud.cam.auth" code=60012 app="wx1" micros=42 answer="AUTH_FAIL" reason="unknown id or wrong skey""#);
    }

    #[test]
    fn a_failure_is_a_line_of_json_too() {
        let json = log(LogFormat::Json);
        json.request(served(Some(failed("internal error", Concern::Operator))));
        let line: serde_json::Value = serde_json::from_str(&lines(&json)).unwrap();
        assert_eq!((&line["level"], &line["code"]), (&"ERROR".into(), &60012.into()));
    }

    #[test]
    fn requests_refused_in_an_overload_share_a_line() {
        let log = log(LogFormat::Json);
        let shed = |reason| Failed { is_shed: true, ..failed(reason, Concern::Passing) };
        let [logins, others] = ["too many logins at once", "too many requests at once"];
        for _ in 0..1000 {
            log.request(served(Some(shed(logins))));
            log.request(served(Some(shed(others))));
        }
        assert_eq!(lines(&log), "");
        let shed = take(&mut log.lines.lock().unwrap().shed);
        let shed: Vec<_> = shed.iter().map(|(failed, count)| (&*failed.reason, *count)).collect();
        assert_eq!(shed, [(logins, 1000), (others, 1000)]);
    }

    #[test]
    fn a_cause_is_told_where_the_reason_says_nothing_of_it() {
        let log = log(LogFormat::Json);
        let cause = |reason, cause: &'static str| {
            let failed = failed(reason, Concern::Caller);
            log.request(served(Some(Failed { cause: Some(cause.into()), ..failed })));
            let line: serde_json::Value = serde_json::from_str(&lines(&log)).unwrap();
            line["cause"].as_str().map(str::to_owned)
        };
        assert_eq!(
            cause("", "the watermark names another app"),
            Some("the watermark names another app".into())
        );
        assert_eq!(cause("code used", "WeChat: code used"), None);
    }
}
