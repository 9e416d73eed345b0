//! The settings in force: what each says, and where it came from.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Console;
use super::page::{self, Page, Place};
use super::words::Language;

/// The references of all settings: a row of a table says what one means.
const ENGLISH: &str = include_str!("../../../docs/settings.md");
const CHINESE: &str = include_str!("../../../docs/settings.zh-CN.md");

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `section.name`
    pub name: String,
    /// As TOML; of a secret, only whether there is one.
    pub value: String,
    pub origin: Origin,
}

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Default,
    File,
    Environment,
    /// `mina-auth dev` sets some itself.
    Dev,
}

struct Row {
    name: String,
    value: String,
    meaning: String,
    origin: &'static str,
    is_default: bool,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    page: Page,
    rows: Vec<Row>,
}

pub async fn show(State(console): State<Arc<Console>>, page: Page) -> Response {
    let reference = match page.language {
        Language::Chinese => CHINESE,
        Language::English => ENGLISH,
    };
    let row = |setting: &Setting| Row {
        name: setting.name.clone(),
        value: setting.value.clone(),
        meaning: meaning(reference, &setting.name).unwrap_or_default(),
        origin: match setting.origin {
            Origin::Default => page.t.from_default,
            Origin::File => page.t.from_file,
            Origin::Environment => page.t.from_environment,
            Origin::Dev => page.t.from_dev,
        },
        is_default: setting.origin == Origin::Default,
    };
    let rows = console.settings.iter().map(row).collect();
    page::show(&Settings { page, rows })
}

/// What the reference says of a setting, as plain text.
fn meaning(reference: &str, name: &str) -> Option<String> {
    let named = format!("`{name}`");
    let mut rows = reference.lines().filter_map(|line| line.strip_prefix("| "));
    let row =
        rows.find(|row| row.split(" | ").next().is_some_and(|names| names.contains(&named)))?;
    let meaning = row.rsplit_once(" | ").map(|(_, last)| last.trim_end_matches([' ', '|']))?;
    Some(plain(meaning))
}

/// Markdown of a table's cell without its marks: of links the text stays.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once("](") {
        let (lead, link) = before.rsplit_once('[').unwrap_or((before, ""));
        text.push_str(lead);
        text.push_str(link);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_setting_says_what_it_means_in_both_languages() {
        let settings = Config::defaults().expect("the defaults are right").settings();
        assert!(settings.len() > 40, "{settings:?}");
        for Setting { name, .. } in settings {
            for reference in [ENGLISH, CHINESE] {
                let meaning = meaning(reference, &name).unwrap_or_default();
                assert!(!meaning.is_empty() && !meaning.contains("]("), "{name}: {meaning}");
            }
        }
    }

    #[test]
    fn a_sentence_loses_its_marks() {
        assert_eq!(plain("a [link](b.md#c) and `code`, [two](d)"), "a link and code, two");
    }
}
