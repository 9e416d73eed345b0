//! What failed of late, and what to do about it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::Console;
use super::page::{self, Page, Place, grouped};
use crate::clock;
use crate::telemetry::failures::Failure;

#[derive(Deserialize)]
pub struct Which {
    app: Option<String>,
    code: Option<String>,
}

struct Shown {
    time: String,
    app: String,
    interface: &'static str,
    code: u32,
    meaning: &'static str,
    what_to_do: &'static str,
    reason: String,
    cause: String,
    times: String,
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live {
    page: Page,
    apps: Vec<String>,
    codes: Vec<String>,
    app: String,
    code: String,
    failures: Vec<Shown>,
}

pub async fn show(
    State(console): State<Arc<Console>>,
    page: Page,
    Query(which): Query<Which>,
) -> Response {
    let latest = console.tallies.failures().latest();
    let (app, code) = (which.app.unwrap_or_default(), which.code.unwrap_or_default());
    // Those that there are to choose from, and the one that is chosen.
    let choices = |of: fn(&Failure) -> String, chosen: &str| {
        let mut all: Vec<String> = latest.iter().map(of).chain([chosen.to_owned()]).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|choice| !choice.is_empty());
        all
    };
    let apps = choices(|failure| failure.app.to_string(), &app);
    let codes = choices(|failure| failure.code.to_string(), &code);
    let is_meant = |failure: &&Failure| {
        (app.is_empty() || *failure.app == *app)
            && (code.is_empty() || failure.code.to_string() == code)
    };
    let failures = latest.iter().filter(is_meant).map(|failure| shown(&page, failure)).collect();
    page::show(&Live { page, apps, codes, app, code, failures })
}

fn shown(page: &Page, failure: &Failure) -> Shown {
    let advice = (page.t.advice)(failure.code);
    Shown {
        time: page.time(clock::seconds(failure.at)),
        app: failure.app.to_string(),
        interface: failure.interface,
        code: failure.code,
        meaning: advice.meaning,
        what_to_do: advice.what_to_do,
        reason: failure.reason.to_string(),
        cause: failure.cause.as_deref().unwrap_or_default().to_owned(),
        times: grouped(failure.times),
    }
}
