//! `mina-auth migrate`

use anyhow::Result;

use crate::config::Config;
use crate::store::{self, Opener, StorageUrl};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the SQL that would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: &Args, config: &Config) -> Result<()> {
    let url = &config.storage.url;
    if args.dry_run {
        for step in pending(url)? {
            say!("{step}")?;
        }
    } else {
        store::open(url, Opener::Creating)?;
        eprintln!("the schema of {url} is up to date");
    }
    Ok(())
}

fn pending(url: &StorageUrl) -> Result<&'static [&'static str], store::OpenError> {
    match url {
        StorageUrl::Memory => Err(store::OpenError::ServerOnly),
        StorageUrl::Sqlite(path) => Ok(store::sqlite::Sqlite::pending_migrations(path)?),
    }
}
