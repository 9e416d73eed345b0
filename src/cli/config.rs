//! `mina-auth config`

use anyhow::Result;
use clap::Subcommand;

use crate::config::{Config, ConfigError, DEFAULTS};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print every setting with its default and what it means
    Default,
    /// Print the settings in force, without the secrets
    Show,
}

pub fn run(command: &Command, load: impl FnOnce() -> Result<Config, ConfigError>) -> Result<()> {
    match command {
        Command::Default => say!("{}", DEFAULTS.trim_end())?,
        Command::Show => say!("{}", toml::to_string(&load()?)?.trim_end())?,
    }
    Ok(())
}
