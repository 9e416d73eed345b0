//! What requests came to, by minute or by hour.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Asked;
use crate::admin::problem::Refused;
use crate::clock;
use crate::operations::Operations;
use crate::store::Store as _;
use crate::store::stats::{Range, Stat, Step};
use crate::wafer::codes::Meaning;

const DAY: i64 = 86_400;

/// How many rows one answer may have.
const MOST_ROWS: u32 = 50_000;

/// What is asked for; the last 24 hours, unless it is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    appid: Option<String>,
}

pub async fn list(
    State(operations): State<Arc<Operations>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Shown>, Refused> {
    let step = match which.step.as_deref() {
        None | Some("minute") => Step::Minute,
        Some("hour") => Step::Hour,
        Some(_) => return Err(Refused::bad_request("`step` is minute or hour")),
    };
    let to = instant("`to`", which.to.as_deref())?.unwrap_or_else(clock::now);
    let from = instant("`from`", which.from.as_deref())?.unwrap_or((to - DAY).max(0));
    if from > to {
        return Err(Refused::bad_request("`from` is before `to`"));
    }
    let from = step.start(from);
    let range = Range { step, from, to, appid: which.appid.as_deref().map(Into::into) };
    let stats = operations.store().stats(range, MOST_ROWS + 1).await?;
    if stats.len() > MOST_ROWS as usize {
        let detail = "this is more than 50000 rows: take hours, one app, or less time";
        return Err(Refused::bad_request(detail));
    }
    let items = stats.into_iter().map(Row::from).collect();
    let step = step.seconds();
    Ok(Json(Shown { from: clock::rfc3339(from), to: clock::rfc3339(to), step, items }))
}

#[derive(Debug, Serialize)]
pub struct Shown {
    from: String,
    to: String,
    /// Seconds.
    step: i64,
    items: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    start: String,
    appid: String,
    interface: String,
    code: u32,
    constant: &'static str,
    callers: bool,
    count: u64,
}

impl From<Stat> for Row {
    fn from(Stat { start, count }: Stat) -> Self {
        let Meaning { constant, is_callers, .. } = Meaning::of(count.code);
        Self {
            start: clock::rfc3339(start),
            appid: count.appid_text().to_owned(),
            interface: count.interface,
            code: count.code,
            constant,
            callers: is_callers,
            count: count.count,
        }
    }
}

/// Reads an instant: RFC 3339 in UTC, or seconds since the epoch.
fn instant(name: &str, text: Option<&str>) -> Result<Option<i64>, Refused> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Some(seconds.into()));
    }
    match humantime::parse_rfc3339(text) {
        Ok(at) => Ok(Some(clock::seconds(at))),
        Err(_) => Err(Refused::bad_request(format!(
            "{name} is a time such as 2026-11-27T00:00:00Z, or seconds since the epoch"
        ))),
    }
}
