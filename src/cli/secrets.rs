//! `mina-auth secrets`

use anyhow::{Result, bail};
use clap::Subcommand;
use secrecy::ExposeSecret as _;

use super::block_on;
use crate::config::Config;
use crate::secrets::Key;
use crate::store::{self, Opener, Settings};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a new key for `secrets.keys` or `secrets.key_file`
    Generate,
    /// Encrypt every secret in the store under the first key, beside a running server
    Rotate,
}

pub fn run(command: &Command, load: impl FnOnce() -> Result<Config>) -> Result<()> {
    match command {
        Command::Generate => Ok(say!("{}", Key::generate().expose_secret())?),
        Command::Rotate => rotate(&load()?),
    }
}

fn rotate(config: &Config) -> Result<()> {
    let settings = config.store()?;
    if let Settings::Mysql(settings) = &settings
        && settings.keys.writes().is_none()
    {
        bail!("there is no key to encrypt under: set `secrets.keys` or `secrets.key_file`");
    }
    let changed = block_on(async {
        let store = store::open(&settings, Opener::Using).await?;
        let mut changed = 0;
        let mut after = Some(String::new());
        while let Some(slice) = after {
            let resealed = store.reseal(&slice).await?;
            changed += resealed.changed;
            after = resealed.next;
        }
        Ok(changed)
    })?;
    say!("{changed} secret(s) encrypted anew; the others were under the first key already")?;
    eprintln!(
        "the other keys may go from `secrets.keys` or `secrets.key_file`, once every server runs \
         with the first one; keep them as long as backups from before"
    );
    Ok(())
}
