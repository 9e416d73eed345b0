//! `mina-auth migrate`

use anyhow::{Result, ensure};

use super::block_on;
use crate::config::Config;
use crate::store::{self, Opener, Settings};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the SQL that would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// End the sharing of a MySQL database with the PHP server, for good. The PHP server must be
    /// stopped, and `storage.shared_with_php` not set
    #[arg(long, conflicts_with = "dry_run")]
    leave_php: bool,
}

pub fn run(args: &Args, config: &Config) -> Result<()> {
    let mut settings = config.store()?;
    if args.leave_php {
        let Settings::Mysql(settings) = &mut settings else {
            anyhow::bail!("`--leave-php`: `storage.url` is no MySQL database");
        };
        ensure!(
            !settings.shared_with_php,
            "`--leave-php`: `storage.shared_with_php` is set; take it out first"
        );
        settings.leave_php = true;
    }
    block_on(async {
        if args.dry_run {
            for step in pending(&settings).await? {
                say!("{step}")?;
            }
            return Ok(());
        }
        store::open(&settings, Opener::Creating).await?;
        eprintln!("the schema of {} is up to date", config.storage.url);
        if args.leave_php {
            eprintln!("the database is no longer shared with the PHP server, which must stay off");
        }
        Ok(())
    })
}

async fn pending(settings: &Settings) -> Result<Vec<String>, store::OpenError> {
    match settings {
        Settings::Memory => Err(store::OpenError::ServerOnly),
        Settings::Sqlite(settings) => {
            let steps = store::sqlite::Sqlite::pending_migrations(&settings.path)?;
            Ok(steps.iter().map(ToString::to_string).collect())
        }
        Settings::Mysql(settings) => {
            let steps = store::mysql::Mysql::pending_migrations(settings).await?;
            Ok(steps.into_iter().map(|step| format!("{step};\n")).collect())
        }
    }
}
