//! What requests came to, by minute or by hour.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Asked, time};
use crate::clock;
use crate::operations::Operations;
use crate::store::Store as _;
use crate::store::stats::{Range, Step};
use crate::wafer::codes::Meaning;

const DAY: i64 = 86_400;

/// How many spans of time one answer may have.
const MOST_SPANS: i64 = 10_000;

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
) -> Result<Json<Value>, Problem> {
    let step = match which.step.as_deref() {
        None | Some("minute") => Step::Minute,
        Some("hour") => Step::Hour,
        Some(_) => return Err(Problem::bad_request("`step` is minute or hour")),
    };
    let to = instant("`to`", which.to.as_deref())?.unwrap_or_else(clock::now);
    let from = instant("`from`", which.from.as_deref())?.unwrap_or(to - DAY);
    if from > to || (to - from) / step.seconds() > MOST_SPANS {
        let detail = "from `from` to `to` are 10000 steps at the most; take hours for longer";
        return Err(Problem::bad_request(detail));
    }
    let range = Range { step, from: step.start(from), to };
    let stats = operations.store().stats(range).await?;
    let is_meant = |appid: &str| which.appid.as_deref().is_none_or(|wanted| wanted == appid);
    let items = stats.iter().filter(|stat| is_meant(stat.count.appid_text())).map(|stat| {
        let Meaning { constant, is_callers, .. } = Meaning::of(stat.count.code);
        json!({
            "start": time(stat.start),
            "appid": stat.count.appid_text(),
            "interface": stat.count.interface,
            "code": stat.count.code,
            "constant": constant,
            "callers": is_callers,
            "count": stat.count.count,
        })
    });
    let items: Vec<_> = items.collect();
    let step = step.seconds();
    Ok(Json(json!({ "from": time(range.from), "to": time(to), "step": step, "items": items })))
}

/// Reads an instant: RFC 3339 in UTC, or seconds since the epoch.
fn instant(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Some(seconds.into()));
    }
    match humantime::parse_rfc3339(text) {
        Ok(at) => Ok(Some(clock::seconds(at))),
        Err(_) => Err(Problem::bad_request(format!(
            "{name} is a time such as 2026-11-27T00:00:00Z, or seconds since the epoch"
        ))),
    }
}
