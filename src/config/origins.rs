//! The settings as a list, and where each came from.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::{Config, ConfigError};
use crate::admin::console::{Origin, Setting};

/// What the source of the environment calls itself. Other sources have no name.
const ENVIRONMENT: &str = "the environment";

/// The settings that are not as the defaults have them, by where they were set.
#[derive(Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Finds out what the file set, and what the environment did after it.
    pub fn of(config: &Value, file: &str) -> Self {
        let file: toml::Table = file.parse().unwrap_or_default();
        let mut origins = BTreeMap::new();
        for (section, settings) in file {
            let toml::Value::Table(settings) = settings else { continue };
            let named = settings.keys().map(|name| (format!("{section}.{name}"), Origin::File));
            origins.extend(named);
        }
        for_each(config, |section, name, value| {
            if value.origin() == Some(ENVIRONMENT) {
                origins.insert(format!("{section}.{name}"), Origin::Environment);
            }
        });
        Self(origins)
    }
}

fn for_each(config: &Value, mut visit: impl FnMut(&str, &str, &Value)) {
    let ValueKind::Table(sections) = &config.kind else { return };
    for (section, settings) in sections {
        let ValueKind::Table(settings) = &settings.kind else { continue };
        for (name, value) in settings {
            visit(section, name, value);
        }
    }
}

impl Config {
    /// Every setting in force, in the order of the reference; of secrets, whether there is one.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let defaults = Self::defaults().map(|defaults| defaults.values());
        let defaults: BTreeSet<_> =
            defaults.unwrap_or_else(|_: ConfigError| Vec::new()).into_iter().collect();
        let named = |(name, value): (String, String)| {
            let is_default = defaults.contains(&(name.clone(), value.clone()));
            // What is neither is as the program itself set it.
            let other = if is_default { Origin::Default } else { Origin::Dev };
            let origin = self.origins.0.get(&name).copied().unwrap_or(other);
            Setting { name, value, origin }
        };
        self.values().into_iter().map(named).collect()
    }

    fn values(&self) -> Vec<(String, String)> {
        let table = toml::Table::try_from(self).unwrap_or_default();
        let mut values = Vec::new();
        for (section, settings) in table {
            let toml::Value::Table(settings) = settings else { continue };
            let named = settings.into_iter();
            values.extend(
                named.map(|(name, value)| (format!("{section}.{name}"), value.to_string())),
            );
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_where_it_came_from() {
        let mut config = Config::defaults().expect("the defaults are right");
        config.limits.requests = 7;
        config.origins.0.insert("log.level".to_owned(), Origin::File);
        let settings = config.settings();
        let origin = |name: &str| {
            let found = settings.iter().find(|setting| setting.name == name);
            found.map(|setting| (setting.value.as_str(), setting.origin))
        };
        assert_eq!(origin("limits.requests"), Some(("7", Origin::Dev)));
        assert_eq!(origin("log.level"), Some(("\"info\"", Origin::File)));
        assert_eq!(origin("sessions.per_user"), Some(("1", Origin::Default)));
    }
}
