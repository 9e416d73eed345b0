//! Logs, to stderr, and numbers.
//!
//! Events go through `tracing`. The line of each request does not, see [`requests`]. What is counted
//! of a request is in [`tally`]; other rooms count for themselves, and `admin::metrics` shows it all.

pub mod alarm;
pub mod failures;
pub mod requests;
pub mod stats;
pub mod tally;

use std::io::{IsTerminal as _, stderr};
use std::panic::PanicHookInfo;

use serde::{Deserialize, Serialize};
use tracing::error;
use tracing::level_filters::LevelFilter;

use crate::choices::one_of;

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
