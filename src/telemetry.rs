//! Logs, to stderr.
//!
//! Events go through `tracing`. The line of each request does not: at a hundred thousand requests
//! a second formatting and writing it that way would cost as much as the requests. [`RequestLog`]
//! writes the same lines many at a time. Requests that are refused in an overload share a line: the
//! log must not be what everybody waits for.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::mem::{discriminant, take};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;
use tracing::{error, warn};

use crate::choices::one_of;
use crate::json;
use crate::protocol::{Concern, Failure, Interface};

/// How long a request's line may wait for others.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// How much may wait: more is written at once.
const FLUSH_AT: usize = 32 * 1024;

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let choices = [
            ("error", Self::Error),
            ("warn", Self::Warn),
            ("info", Self::Info),
            ("debug", Self::Debug),
        ];
        one_of(&text, &choices)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Human,
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let choices = [("auto", Self::Auto), ("human", Self::Human), ("json", Self::Json)];
        one_of(&text, &choices)
    }
}

/// Starts logging, for the whole process.
pub fn start(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level_filter(log.level))
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(stderr().is_terminal());
    // A second start in one process is a test's; the first one's settings stay.
    let _ = match format(log) {
        Format::Human => builder.try_init(),
        Format::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    };
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs where a panic came from, and its message where that is a constant: a message put together
/// may hold what a client sent.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    error!(location, message, "a panic: please report it");
}

/// Has warnings written to stderr, for commands.
pub fn start_warnings() {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(stderr)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_ansi(false);
    // A second start in one process is a test's.
    let _ = builder.try_init();
}

fn level_filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Human,
    Json,
}

fn format(log: &Log) -> Format {
    match log.format {
        LogFormat::Human => Format::Human,
        LogFormat::Auto if stderr().is_terminal() => Format::Human,
        LogFormat::Auto | LogFormat::Json => Format::Json,
    }
}

/// What the log says of a request.
#[derive(Debug)]
pub struct Served<'a> {
    /// When it was answered.
    pub at: SystemTime,
    pub took: Duration,
    pub interface: Option<Interface>,
    pub app: Option<&'a str>,
    pub failure: Option<&'a Failure>,
}

impl Served<'_> {
    /// The cause of the failure, where the reason does not say it already.
    fn cause(&self) -> Option<String> {
        self.failure.and_then(untold_cause)
    }
}

fn untold_cause(failure: &Failure) -> Option<String> {
    let (_, _, reason) = failure.answer();
    failure.cause().filter(|cause| reason.is_empty() || !cause.ends_with(&*reason))
}

/// The lines of the requests that one listener thread serves.
#[derive(Debug)]
pub struct RequestLog {
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
    shed: Vec<(Failure, u64)>,
    /// The second that was last written out, and how: most lines share it with the one before.
    second: u64,
    written_second: String,
}

impl RequestLog {
    /// Makes a log that writes at the level and in the format of the settings.
    #[must_use]
    pub fn new(log: &Log) -> Self {
        Self {
            level: level_filter(log.level),
            format: format(log),
            lines: Mutex::default(),
            waiting: Notify::new(),
        }
    }

    /// Logs a request, at a level that says whose business it is.
    pub fn request(&self, served: &Served<'_>) {
        let level = match served.failure.map(Failure::concern) {
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
        if let Some(failure) = served.failure.filter(|failure| failure.is_shed()) {
            lines.count_shed(failure);
            return;
        }
        // Writing to a String cannot fail.
        let _ = match self.format {
            Format::Json => write_json(&mut lines, level, served),
            Format::Human => write_human(&mut lines, level, served),
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
        for (failure, count) in shed {
            let (code, answer, reason) = failure.answer();
            let cause = untold_cause(&failure);
            warn!(code, answer, %reason, cause, count, "requests were refused");
        }
    }
}

impl Lines {
    fn count_shed(&mut self, failure: &Failure) {
        let kind = discriminant(failure);
        match self.shed.iter_mut().find(|(counted, _)| discriminant(counted) == kind) {
            Some((_, count)) => *count += 1,
            None => self.shed.push((failure.clone(), 1)),
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
    out.push_str(served.interface.map_or("", Interface::name));
    out.push_str(r#"","code":"#);
    let answer = served.failure.map(Failure::answer);
    out.push_str(itoa::Buffer::new().format(answer.as_ref().map_or(0, |(code, ..)| *code)));
    if let Some(app) = served.app {
        out.push_str(r#","app":"#);
        json::push_string(out, app);
    }
    out.push_str(r#","micros":"#);
    out.push_str(itoa::Buffer::new().format(micros(served.took)));
    if let Some((_, message, reason)) = &answer {
        for (name, text) in [("answer", *message), ("reason", reason)] {
            write!(out, r#","{name}":"#)?;
            json::push_string(out, text);
        }
    }
    if let Some(cause) = served.cause() {
        out.push_str(r#","cause":"#);
        json::push_string(out, &cause);
    }
    out.push_str("}\n");
    Ok(())
}

fn write_human(lines: &mut Lines, level: LevelFilter, served: &Served<'_>) -> fmt::Result {
    lines.push_time(served.at)?;
    let out = &mut lines.text;
    write!(out, " {:>5} request", level_name(level))?;
    write!(out, " interface={:?}", served.interface.map_or("", Interface::name))?;
    let answer = served.failure.map(Failure::answer);
    write!(out, " code={}", answer.as_ref().map_or(0, |(code, ..)| *code))?;
    if let Some(app) = served.app {
        write!(out, " app={app:?}")?;
    }
    write!(out, " micros={}", micros(served.took))?;
    if let Some((_, message, reason)) = &answer {
        write!(out, " answer={message:?} reason={reason:?}")?;
    }
    if let Some(cause) = served.cause() {
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
    use crate::protocol::Refusal;
    use crate::wechat::open_data::DecryptError;

    fn log(format: LogFormat) -> RequestLog {
        RequestLog::new(&Log { level: Level::Info, format })
    }

    fn served(failure: Option<&Failure>) -> Served<'_> {
        Served {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_357_046_356_476),
            took: Duration::from_micros(42),
            interface: Some(Interface::Auth),
            app: Some("wx1"),
            failure,
        }
    }

    fn lines(log: &RequestLog) -> String {
        log.lines.lock().unwrap().text.clone()
    }

    #[test]
    fn a_request_is_one_line() {
        let json = log(LogFormat::Json);
        json.request(&served(None));
        insta::assert_snapshot!(lines(&json), @r#"{"timestamp":"2026-11-22T14:17:26.356476Z","level":"INFO","message":"request","interface":"qcloud.cam.auth","code":0,"app":"wx1","micros":42}"#);
        let human = log(LogFormat::Human);
        human.request(&served(Some(&Failure::Auth(Refusal::UnknownIdOrWrongSkey))));
        insta::assert_snapshot!(lines(&human), @r#"2026-11-22T14:17:26.356476Z  INFO request interface="qcloud.cam.auth" code=60012 app="wx1" micros=42 answer="AUTH_FAIL" reason="unknown id or wrong skey""#);
    }

    #[test]
    fn a_failure_is_a_line_of_json_too() {
        let json = log(LogFormat::Json);
        json.request(&served(Some(&Failure::Lost)));
        let line: serde_json::Value = serde_json::from_str(&lines(&json)).unwrap();
        assert_eq!((&line["level"], &line["code"]), (&"ERROR".into(), &1001.into()));
    }

    #[test]
    fn requests_refused_in_an_overload_share_a_line() {
        let log = log(LogFormat::Json);
        for _ in 0..1000 {
            log.request(&served(Some(&Failure::TooManyLogins)));
            log.request(&served(Some(&Failure::TooManyRequests)));
        }
        assert_eq!(lines(&log), "");
        let shed = take(&mut log.lines.lock().unwrap().shed);
        let shed: Vec<_> =
            shed.iter().map(|(failure, count)| (failure.answer().2, *count)).collect();
        let [logins, others] = ["too many logins at once", "too many requests at once"];
        assert_eq!(shed, [(logins.into(), 1000), (others.into(), 1000)]);
    }

    #[test]
    fn a_cause_is_told_where_the_reason_says_nothing_of_it() {
        let log = log(LogFormat::Json);
        log.request(&served(Some(&Failure::SessionData(DecryptError::Watermark))));
        let line: serde_json::Value = serde_json::from_str(&lines(&log)).unwrap();
        assert_eq!(line["cause"], "the watermark names another app");
    }
}
