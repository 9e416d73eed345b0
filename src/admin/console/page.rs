//! What all pages have.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse as _, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Console;
use super::words::{Language, Words};
use crate::admin::problem::Refused;

/// The place of a page among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Overview,
    Apps,
    Users,
    Live,
    Phone,
    Settings,
    /// None of those.
    Elsewhere,
}

/// Who looks, at what: every page has its frame from here.
#[derive(Debug, Clone)]
pub struct Page {
    /// The words of the visitor's language.
    pub t: &'static Words,
    pub language: Language,
    pub place: Place,
    /// The path and query of this page, for who comes back to it.
    pub here: String,
    pub has_phone: bool,
    pub is_logged_in: bool,
    pub zone: TimeZone,
}

impl FromRequestParts<Arc<Console>> for Page {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        console: &Arc<Console>,
    ) -> Result<Self, Self::Rejection> {
        let path = parts.uri.path();
        let place = match path.split('/').nth(1).unwrap_or_default() {
            "" => Place::Overview,
            "apps" => Place::Apps,
            "users" => Place::Users,
            "live" => Place::Live,
            "phone" => Place::Phone,
            "settings" => Place::Settings,
            _ => Place::Elsewhere,
        };
        let language = Language::of(&parts.headers);
        let here = parts.uri.path_and_query().map_or("/", |here| here.as_str());
        Ok(Self {
            t: language.words(),
            language,
            place,
            here: here.to_owned(),
            has_phone: console.phone.is_some(),
            is_logged_in: true,
            zone: TimeZone::system(),
        })
    }
}

impl Page {
    /// The page of somebody who is not logged in.
    #[must_use]
    pub fn of_stranger(language: Language) -> Self {
        Self {
            t: language.words(),
            language,
            place: Place::Elsewhere,
            here: "/".to_owned(),
            has_phone: false,
            is_logged_in: false,
            zone: TimeZone::UTC,
        }
    }

    /// An instant on the server's clock, in seconds since the epoch.
    #[must_use]
    pub fn time(&self, at: i64) -> String {
        self.format("%Y-%m-%d %H:%M:%S", at)
    }

    /// An instant in some form.
    #[must_use]
    pub fn format(&self, form: &str, at: i64) -> String {
        let at = Timestamp::from_second(at).unwrap_or_default();
        at.to_zoned_datetime(self.zone.clone()).strftime(form).to_string()
    }

    /// The name of the zone that times are shown in.
    #[must_use]
    pub fn zone_name(&self) -> String {
        self.zone.iana_name().map_or_else(|| self.format("%z", 0), str::to_owned)
    }
}

/// Shows a page.
pub fn show(template: &impl Template) -> Response {
    show_with(StatusCode::OK, template)
}

pub fn show_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => (status, Html(page)).into_response(),
        // Writing to memory does not fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A page that could not be shown, or something that was not done.
#[derive(Template)]
#[template(path = "failed.html")]
struct Failed {
    page: Page,
    heading: &'static str,
    text: String,
}

/// Says to a person what an operation said.
pub fn failed(page: Page, refused: &Refused) -> Response {
    let status = refused.status();
    let (heading, text) = if status == StatusCode::NOT_FOUND {
        (page.t.not_found, page.t.not_found_text.to_owned())
    } else {
        (page.t.refused, refused.detail().to_owned())
    };
    show_with(status, &Failed { page, heading, text })
}

pub async fn not_found(page: Page) -> Response {
    failed(page, &Refused::not_found(""))
}

#[derive(Template)]
#[template(path = "off.html")]
struct Off {
    page: Page,
}

/// Says how the console is turned on.
pub fn off(language: Language) -> Response {
    show(&Off { page: Page::of_stranger(language) })
}

/// A number with its thousands parted.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        let shown = [0, 999, 1000, 12_345_678].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "12,345,678"]);
    }
}
