//! `GET /metrics`: what the server counts, as Prometheus reads it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, Gauge, IntCounter, IntCounterVec, IntGaugeVec, TextEncoder, opts};

use crate::clock;
use crate::net::door::Door;
use crate::net::listener::Terms;
use crate::net::refusals::Refusals;
use crate::net::tls::Tls;
use crate::operations::Operations;
use crate::store::cached::Trust;
use crate::store::metered::StoreNumbers;
use crate::store::sqlite::{self, Room};
use crate::telemetry::tally::{BOUNDS, Counts, Kind, Tallies, Times};

/// Where the numbers are.
pub struct Sources {
    pub operations: Arc<Operations>,
    pub tallies: Tallies,
    pub store: StoreNumbers,
    pub listeners: Vec<Listener>,
    /// The database's file, where it has one.
    pub file: Option<PathBuf>,
    /// `metrics.app_label`
    pub app_label: bool,
}

/// What there is to know of a listener.
pub struct Listener {
    pub door: Arc<Door>,
    pub refusals: Arc<Refusals>,
    pub tls: Option<Arc<Tls>>,
}

impl From<&Terms> for Listener {
    fn from(terms: &Terms) -> Self {
        let Terms { door, refusals, tls, .. } = terms;
        Self { door: Arc::clone(door), refusals: Arc::clone(refusals), tls: tls.clone() }
    }
}

/// `GET /metrics`
pub fn router(sources: Sources) -> Router {
    let sources = Arc::new(sources);
    let process = Arc::new(ProcessCollector::for_self());
    Router::new().route("/metrics", get(async move || answer(&sources, &process)))
}

fn answer(sources: &Sources, process: &ProcessCollector) -> Response {
    let mut text = Vec::new();
    let written = sources.families().and_then(|mut families| {
        families.extend(process.collect());
        // One without a row is no family to Prometheus.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode(&families, &mut text)
    });
    match written {
        Ok(()) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

impl Sources {
    fn families(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let counts = self.tallies.sum();
        let wechat = self.operations.wechat();
        let mut families = vec![durations(&counts.times)];
        families.extend(requests(&counts, self.app_label)?);
        families.extend(wechat.numbers().requests.collect());
        families.extend(wechat.numbers().durations.collect());
        families.extend(self.store.durations.collect());
        families.extend(self.store.errors.collect());
        families.extend(self.of_listeners()?);
        families.extend(self.of_now()?);
        let build = opts!("mina_auth_build_info", "The program; always 1.");
        let build = IntGaugeVec::new(build, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        families.extend(build.collect());
        Ok(families)
    }

    fn of_listeners(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let connections = opts!("mina_auth_connections", "Open connections.");
        let connections = IntGaugeVec::new(connections, &["listener"])?;
        let help =
            "Connections and requests that were refused before anything was asked of the server.";
        let refusals =
            IntCounterVec::new(opts!("mina_auth_refusals_total", help), &["listener", "reason"])?;
        let help = "When the certificate in use ends, or another in its file, since the epoch.";
        let ends = opts!("mina_auth_certificate_not_after_timestamp_seconds", help);
        let ends = IntGaugeVec::new(ends, &["listener"])?;
        for Listener { door, refusals: refused, tls } in &self.listeners {
            let listener = refused.listener();
            if let Some(end) = tls.as_ref().and_then(|tls| tls.ends()) {
                ends.with_label_values(&[listener]).set(end);
            }
            let open = i64::try_from(door.open()).unwrap_or(i64::MAX);
            connections.with_label_values(&[listener]).set(open);
            for (reason, total) in refused.totals() {
                refusals.with_label_values(&[listener, reason]).inc_by(total);
            }
        }
        Ok([connections.collect(), refusals.collect(), ends.collect()].concat())
    }

    fn of_now(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let store = self.operations.store();
        let now = clock::now();
        let cache = store.numbers(now);
        let counters = [
            ("mina_auth_cache_hits_total", "Checks of sessions that were in memory.", cache.hits),
            ("mina_auth_cache_misses_total", "Checks of sessions that were not.", cache.misses),
        ];
        let is_up = store.trust(now) == Trust::Full;
        #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
        let gauges = [
            ("mina_auth_cached_sessions", "Sessions in memory.", cache.sessions as f64),
            ("mina_auth_cache_bytes", "What these take of memory.", cache.bytes as f64),
            (
                "mina_auth_visits_waiting",
                "Last visits that the store does not have yet.",
                cache.visits_waiting as f64,
            ),
            (
                "mina_auth_change_feed_lag_seconds",
                "For how long the store's change feed was not read.",
                cache.feed_lag as f64,
            ),
            ("mina_auth_store_up", "Whether the store can be read.", f64::from(u8::from(is_up))),
            (
                "mina_auth_wechat_breaker_open",
                "Whether WeChat could not be reached and is left alone for a moment.",
                f64::from(u8::from(self.operations.wechat().is_left_alone())),
            ),
            (
                "mina_auth_logins_in_flight",
                "Logins being worked on.",
                self.operations.logins_in_flight() as f64,
            ),
        ];
        let room = self.file.as_deref().and_then(sqlite::room);
        #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
        let room = room.map(|Room { free, size }| {
            [
                ("mina_auth_storage_free_bytes", "Room left for the database's file.", free as f64),
                ("mina_auth_storage_size_bytes", "The file system that it is on.", size as f64),
            ]
        });
        let mut families = Vec::new();
        for (name, help, value) in counters {
            let counter = IntCounter::new(name, help)?;
            counter.inc_by(value);
            families.extend(counter.collect());
        }
        for (name, help, value) in gauges.into_iter().chain(room.into_iter().flatten()) {
            let gauge = Gauge::new(name, help)?;
            gauge.set(value);
            families.extend(gauge.collect());
        }
        Ok(families)
    }
}

fn requests(counts: &Counts, app_label: bool) -> prometheus::Result<Vec<MetricFamily>> {
    let help = "Requests that were answered, by return code; 0 is success.";
    let labels = ["interface", "code", "app"];
    let labels = if app_label { &labels[..] } else { &labels[..2] };
    let requests = IntCounterVec::new(opts!("mina_auth_requests_total", help), labels)?;
    for (Kind { interface, code, app }, count) in &counts.requests {
        let code = code.to_string();
        let values = [*interface, &code, app];
        requests.with_label_values(&values[..labels.len()]).inc_by(*count);
    }
    Ok(requests.collect())
}

fn durations(times: &HashMap<&'static str, Times>) -> MetricFamily {
    let rows = times.iter().map(|(interface, times)| {
        let mut label = LabelPair::default();
        label.set_name("interface".to_owned());
        label.set_value((*interface).to_owned());
        let mut metric = Metric::from_label(vec![label]);
        metric.set_histogram(histogram(times));
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name("mina_auth_request_duration_seconds".to_owned());
    family.set_help("How long requests took from their whole head to their answer.".to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(rows.collect());
    family
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years fit")]
fn histogram(times: &Times) -> proto::Histogram {
    let seconds = |micros: u64| micros as f64 / 1e6;
    let mut cumulative = 0;
    let buckets = times.buckets.iter().zip(BOUNDS).map(|(count, bound)| {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(seconds(bound));
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(times.count);
    histogram.set_sample_sum(seconds(times.micros));
    histogram
}
