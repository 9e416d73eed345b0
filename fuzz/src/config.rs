//! Configuration files: read, or refused in a line that names the setting.

use std::io::Write as _;

use mina_auth::config::{Config, DEFAULTS};

/// The defaults as a whole, as they are commented, and section by section.
pub fn seeds() -> Vec<Vec<u8>> {
    let uncommented: String =
        DEFAULTS.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let sections = DEFAULTS.split("\n[").skip(1).map(|section| format!("[{section}"));
    let apps = uncommented.split_once("[[apps]]").map(|(_, rest)| format!("[[apps]]{rest}"));
    let apps = apps.iter().filter_map(|apps| apps.split("\n\n").next()).map(str::to_owned);
    sections.chain(apps).chain([DEFAULTS.to_owned()]).map(String::into_bytes).collect()
}

pub fn run(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(data).expect("it can be written");
    match Config::load(Some(file.path())) {
        Ok(config) => drop(toml::to_string(&config).expect("it can be shown")),
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
