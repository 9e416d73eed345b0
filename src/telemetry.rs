//! Logs, to stderr.

use std::io::{IsTerminal as _, stderr};
use std::time::Instant;

use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use crate::config::{Level, Log, LogFormat};
use crate::protocol::{Concern, Failure, Interface};
use crate::session::AppId;

/// Starts logging, for the whole process.
pub fn start(log: &Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(stderr().is_terminal());
    // A second start in one process is a test's; the first one's settings stay.
    let _ = if human {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}

/// A request as the log sees it.
#[derive(Debug)]
pub struct Served {
    pub started: Instant,
    pub interface: Option<Interface>,
    pub app: Option<AppId>,
}

impl Served {
    /// A request that came in at `started` and of which nothing else is known.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self { started, interface: None, app: None }
    }

    fn interface(&self) -> &'static str {
        self.interface.map_or("", Interface::name)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Logs a request that was answered with code 0.
pub fn succeeded(served: &Served, app: Option<&AppId>) {
    info!(
        interface = served.interface(),
        code = 0,
        app = app.map(AppId::as_str),
        micros = served.micros(),
        "request"
    );
}

/// Logs a request that failed, at a level that says whose business it is.
pub fn failed(served: &Served, failure: &Failure) {
    macro_rules! log {
        ($level:ident) => {{
            let (code, message, reason) = failure.answer();
            $level!(
                interface = served.interface(),
                code,
                app = served.app.as_ref().map(AppId::as_str),
                micros = served.micros(),
                answer = message,
                reason = &*reason,
                cause = failure.cause(),
                "request"
            );
        }};
    }
    match failure.concern() {
        Concern::Caller => log!(info),
        Concern::Passing => log!(warn),
        Concern::Operator => log!(error),
    }
}
