//! Is everything well, and how much goes on.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use prometheus::core::Collector as _;
use prometheus::proto::Bucket;
use serde::Deserialize;

use super::chart::{Chart, Scale, Series};
use super::history::{Doing, Numbers, day_starts};
use super::page::{self, Page, Place, grouped};
use super::{Console, login};
use crate::admin::rates::Rate;
use crate::clock;
use crate::store::cached::Trust;
use crate::store::stats::{Census, Step};
use crate::telemetry::alarm::ENOUGH;
use crate::wafer::codes::Meaning;

/// What part of the logins may fail before somebody should look, in percent.
const WELL: f64 = 95.0;

/// How many reasons of failures are shown.
const REASONS: usize = 12;

#[derive(Deserialize)]
pub struct Which {
    range: Option<String>,
    app: Option<String>,
}

/// How far back curves go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Hour,
    Day,
    Month,
}

impl Range {
    const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    fn named(name: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|range| Some(range.name()) == name).unwrap_or(Self::Day)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    const fn word(self, page: &Page) -> &'static str {
        match self {
            Self::Hour => page.t.last_hour,
            Self::Day => page.t.last_day,
            Self::Month => page.t.last_month,
        }
    }

    const fn step(self) -> Step {
        match self {
            Self::Hour | Self::Day => Step::Minute,
            Self::Month => Step::Hour,
        }
    }

    /// Seconds of a span, how many there are, and how many a name stands under.
    const fn spans(self) -> (i64, i64, usize) {
        match self {
            Self::Hour => (60, 60, 10),
            Self::Day => (600, 144, 24),
            Self::Month => (6 * 3600, 120, 20),
        }
    }

    const fn form(self) -> &'static str {
        match self {
            Self::Hour | Self::Day => "%H:%M",
            Self::Month => "%m-%d %H:%M",
        }
    }

    /// The starts of the spans up to now.
    fn starts(self, now: i64) -> Vec<i64> {
        let (seconds, count, _) = self.spans();
        let last = now - now.rem_euclid(seconds);
        (0..count).rev().map(|before| last - before * seconds).collect()
    }
}

/// How the server is, in a sentence and a colour.
struct Health {
    class: &'static str,
    text: &'static str,
    app: Option<String>,
}

/// One of the large numbers.
struct Large {
    name: &'static str,
    value: String,
    /// What there was the day before.
    before: String,
}

/// Success rates over several spans of time.
struct Row {
    app: String,
    name: &'static str,
    rates: [String; 4],
}

/// Why requests failed.
struct Failure {
    count: String,
    app: String,
    interface: String,
    code: u32,
    meaning: &'static str,
    is_callers: bool,
}

/// How fast WeChat answers one of its calls.
struct Answers {
    api: String,
    count: String,
    median: String,
    most: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: Page,
    health: Health,
    is_empty: bool,
    is_old: bool,
    larges: [Large; 3],
    ranges: Vec<(String, &'static str, bool)>,
    apps: Vec<String>,
    app: String,
    range: &'static str,
    requests: String,
    success: String,
    rates: Vec<Row>,
    failures: Vec<Failure>,
    days: String,
    answers: Vec<Answers>,
    server: Vec<(&'static str, String)>,
}

pub async fn show(
    State(console): State<Arc<Console>>,
    page: Page,
    uri: Uri,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Response {
    if let Some(token) = login::link_token(&uri) {
        return login::enter(&console, &headers, &token).await;
    }
    let now = clock::now();
    let days = day_starts(&page.zone, now, 30);
    let numbers = console.history.numbers(now, days[days.len() - 1]).await;
    let range = Range::named(which.range.as_deref());
    let app = which.app.filter(|app| !app.is_empty());
    page::show(&overview(&console, page, &numbers, Shown { now, days: &days, range, app }))
}

/// What a visitor chose to see.
struct Shown<'a> {
    now: i64,
    days: &'a [i64],
    range: Range,
    app: Option<String>,
}

fn overview(console: &Console, page: Page, numbers: &Numbers, shown: Shown<'_>) -> Overview {
    let Shown { now, days, range, app } = shown;
    let only = app.as_deref();
    let apps = console.operations.store().apps();
    let apps: Vec<String> = apps.iter().map(|app| app.appid.as_str().to_owned()).collect();
    let starts = range.starts(now);
    let [logins, checks] = [Doing::Logins, Doing::Checks]
        .map(|doing| numbers.rates(doing, range.step(), &starts, only));
    let link = |range: Range| format!("/?range={}&app={}", range.name(), only.unwrap_or_default());
    let total = |rates: &[Rate]| rates.iter().map(|rate| rate.requests()).sum::<u64>();
    Overview {
        health: health(console, &page, numbers, now),
        is_empty: total(&numbers.rates(Doing::Logins, Step::Hour, days, None)) == 0,
        is_old: numbers.is_old,
        larges: larges(&page, numbers, days, only),
        ranges: Range::ALL.map(|other| (link(other), other.word(&page), other == range)).to_vec(),
        requests: requests(&page, range, &starts, &logins, &checks),
        success: success(&page, range, &starts, &logins, &checks),
        rates: rates(&page, numbers, now, &apps),
        failures: failures(&page, numbers, (range.step(), starts[0]), only),
        days: by_day(&page, numbers, days, only),
        answers: answers(console),
        server: server(console, &page, now),
        app: app.unwrap_or_default(),
        range: range.name(),
        apps,
        page,
    }
}

fn health(console: &Console, page: &Page, numbers: &Numbers, now: i64) -> Health {
    let operations = &console.operations;
    let bad = |text| Health { class: "bad", text, app: None };
    match operations.store().trust(now) {
        Trust::Full => {}
        Trust::Stale => return bad(page.t.store_is_stale),
        Trust::None => return bad(page.t.store_is_away),
    }
    if operations.wechat().is_left_alone() {
        return bad(page.t.wechat_is_away);
    }
    let lately = now - 300;
    if let Some(app) = operations.wechat().refused_now() {
        return Health { app: Some(app.as_str().to_owned()), ..bad(page.t.app_is_refused) };
    }
    let rate = numbers.rate(Doing::Logins, Step::Minute, lately, None);
    if rate.succeeded + rate.failed >= ENOUGH && rate.success().is_some_and(|rate| rate < WELL) {
        return bad(page.t.logins_fail);
    }
    Health { class: "well", text: page.t.all_is_well, app: None }
}

/// Users, active ones, logins: today, and what there was yesterday.
fn larges(page: &Page, numbers: &Numbers, days: &[i64], only: Option<&str>) -> [Large; 3] {
    let t = page.t;
    let days = &days[days.len().saturating_sub(2)..];
    let counted = |of: fn(&Census) -> u64| {
        let census = numbers.census.as_ref()?.iter();
        let is_meant = |census: &&Census| only.is_none_or(|only| census.appid.as_str() == only);
        Some(census.filter(is_meant).map(of).sum::<u64>())
    };
    let value = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), grouped);
    let yesterday = |which| numbers.users(which, days, only).first().copied().flatten();
    let users = counted(|census| census.users);
    let change = yesterday(Census::USERS).zip(users).map(|(before, now)| {
        let sign = if now < before { "−" } else { "+" };
        format!("{sign}{} {}", grouped(now.abs_diff(before)), t.since_yesterday)
    });
    let whole = |count: Option<u64>| {
        let count =
            count.map(|count| format!("{} {} {}", t.yesterday, grouped(count), t.day_total));
        count.unwrap_or_default()
    };
    let logins = numbers.rates(Doing::Logins, Step::Hour, days, only);
    let [before, today] = [0, logins.len() - 1].map(|at| logins[at].succeeded);
    [
        Large { name: t.users, value: value(users), before: change.unwrap_or_default() },
        Large {
            name: t.active_today,
            value: value(counted(|census| census.active)),
            before: whole(yesterday(Census::ACTIVE)),
        },
        Large { name: t.logins_today, value: grouped(today), before: whole(Some(before)) },
    ]
}

/// How many logins and checks there were in each span.
fn requests(page: &Page, range: Range, starts: &[i64], logins: &[Rate], checks: &[Rate]) -> String {
    let series = [(page.t.logins, "logins", logins), (page.t.checks, "checks", checks)];
    let series = series.map(|(name, class, rates)| Series {
        name,
        class,
        values: whole_spans(rates),
        notes: rates.iter().map(|rate| grouped(rate.requests())).collect(),
        is_bars: false,
    });
    draw(page, page.t.requests, range, starts, series, Scale::Count)
}

/// The requests of each span. The one that runs would look like a fall of what goes on.
fn whole_spans(rates: &[Rate]) -> Vec<Option<f64>> {
    let mut values: Vec<_> = rates.iter().map(|rate| Some(as_f64(rate.requests()))).collect();
    if let [.., before, running] = values.as_mut_slice()
        && *before > Some(0.0)
    {
        *running = None;
    }
    values
}

/// Which part of the logins and of the checks succeeded in each span.
fn success(page: &Page, range: Range, starts: &[i64], logins: &[Rate], checks: &[Rate]) -> String {
    let series = [(page.t.logins, "logins", logins), (page.t.checks, "checks", checks)];
    let series = series.map(|(name, class, rates)| Series {
        name,
        class,
        values: rates.iter().map(|rate| rate.success()).collect(),
        notes: rates.iter().map(|rate| percent(*rate)).collect(),
        is_bars: false,
    });
    draw(page, page.t.success, range, starts, series, Scale::Percent)
}

fn draw(
    page: &Page,
    what: &str,
    range: Range,
    starts: &[i64],
    series: [Series<'_>; 2],
    scale: Scale,
) -> String {
    let names = starts.iter().map(|start| page.format(range.form(), *start)).collect();
    let label = format!("{what}: {}, {}", series[0].name, series[1].name);
    let (.., every) = range.spans();
    Chart { label, series: series.into(), names, every, scale }.svg()
}

/// Logins and active users of each day.
fn by_day(page: &Page, numbers: &Numbers, days: &[i64], only: Option<&str>) -> String {
    let logins = numbers.rates(Doing::Logins, Step::Hour, days, only);
    let active = numbers.users(Census::ACTIVE, days, only);
    let logins = Series {
        name: page.t.logins,
        class: "logins",
        values: logins.iter().map(|rate| Some(as_f64(rate.succeeded))).collect(),
        notes: logins.iter().map(|rate| grouped(rate.succeeded)).collect(),
        is_bars: true,
    };
    let active = Series {
        name: page.t.active,
        class: "active",
        values: active.iter().map(|count| count.map(as_f64)).collect(),
        notes: active.iter().map(|count| count.map(grouped).unwrap_or_default()).collect(),
        is_bars: false,
    };
    let names = days.iter().map(|day| page.format("%m-%d", *day)).collect();
    let label = page.t.users_a_day.to_owned();
    Chart { label, series: vec![logins, active], names, every: 5, scale: Scale::Count }.svg()
}

/// The success rates of each app: now, of an hour, a day, a month.
fn rates(page: &Page, numbers: &Numbers, now: i64, apps: &[String]) -> Vec<Row> {
    let spans = [
        (Step::Minute, now - 300),
        (Step::Minute, now - 3600),
        (Step::Minute, now - 86_400),
        (Step::Hour, now - 30 * 86_400),
    ];
    let doings = [(Doing::Logins, page.t.logins), (Doing::Checks, page.t.checks)];
    let of = |app: &String, (doing, name)| Row {
        app: app.clone(),
        name,
        rates: spans.map(|(step, from)| percent(numbers.rate(doing, step, from, Some(app)))),
    };
    apps.iter().flat_map(|app| doings.map(|doing| of(app, doing))).collect()
}

fn failures(
    page: &Page,
    numbers: &Numbers,
    (step, from): (Step, i64),
    only: Option<&str>,
) -> Vec<Failure> {
    let summary = numbers.summary(step, from, only);
    let shown = |((app, interface, code), count): (&(String, String, u32), u64)| Failure {
        count: grouped(count),
        app: app.clone(),
        interface: interface.clone(),
        code: *code,
        meaning: (page.t.advice)(*code).meaning,
        is_callers: Meaning::of(*code).is_callers,
    };
    summary.failures().into_iter().take(REASONS).map(shown).collect()
}

/// How fast WeChat has answered, from the buckets of the numbers for Prometheus.
fn answers(console: &Console) -> Vec<Answers> {
    let mut answers = Vec::new();
    for metric in console
        .operations
        .wechat()
        .numbers()
        .durations
        .collect()
        .iter()
        .flat_map(|family| family.get_metric().to_vec())
    {
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count();
        let within = |share: f64| {
            let wanted = as_f64(count) * share;
            let found = histogram
                .get_bucket()
                .iter()
                .find(|bucket| as_f64(bucket.cumulative_count()) >= wanted);
            match found.map(Bucket::upper_bound) {
                Some(bound) if bound.is_finite() => format!("{:.0} ms", bound * 1000.0),
                _ => "> 5 s".to_owned(),
            }
        };
        let api = metric.get_label().first().map(|label| label.value().to_owned());
        answers.push(Answers {
            api: api.unwrap_or_default(),
            count: grouped(count),
            median: within(0.5),
            most: within(0.95),
        });
    }
    answers
}

fn server(console: &Console, page: &Page, now: i64) -> Vec<(&'static str, String)> {
    let t = page.t;
    let operations = &console.operations;
    let cache = operations.store().numbers(now);
    let store = match operations.store().trust(now) {
        Trust::Full => t.ready,
        Trust::Stale => t.degraded,
        Trust::None => t.away,
    };
    let hits = Rate { succeeded: cache.hits, failed: cache.misses, callers: 0 };
    vec![
        (t.store, store.to_owned()),
        (t.feed_lag, format!("{} s", cache.feed_lag)),
        (t.sessions_in_memory, grouped(cache.sessions as u64)),
        (t.memory, bytesize::ByteSize(cache.bytes as u64).to_string()),
        (t.hits, percent(hits)),
        (t.visits_waiting, grouped(cache.visits_waiting as u64)),
        (t.logins_in_flight, grouped(operations.logins_in_flight() as u64)),
        (t.version, env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

fn percent(rate: Rate) -> String {
    // Not all of them is not all of them, however many there were.
    let floored = |success: f64| format!("{:.2} %", (success * 100.0).floor() / 100.0);
    rate.success().map_or_else(|| "–".to_owned(), floored)
}

#[expect(clippy::cast_precision_loss, reason = "nobody reads so many digits")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
