//! `mina-auth app`

use std::io::{IsTerminal as _, stdin};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::block_on;
use crate::config::Config;
use crate::session::{App, AppId, Lifetime};
use crate::store::{self, Opener, Store};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an app, or change the one with this appid
    Add(Add),
    /// List the apps
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an app; its secret is never shown
    Show {
        appid: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an app with its users and sessions
    Remove { appid: String },
}

#[derive(Debug, clap::Args)]
pub struct Add {
    /// The mini program's appid, `wx` and 16 hex digits
    appid: String,
    /// The file that holds the AppSecret; without it the secret is read from standard input. An
    /// app that is known keeps its secret when none is given
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Days that a session lives from the login [default: 30, or as it was]
    #[arg(long, value_name = "DAYS")]
    login_duration: Option<u32>,
    /// Seconds that a session lives from its last check [default: 2592000, or as it was]
    #[arg(long, value_name = "SECONDS")]
    session_duration: Option<u32>,
    /// Make this the app of requests that name none
    #[arg(long)]
    default: bool,
}

pub fn run(command: Command, config: &Config) -> Result<()> {
    // What may be wrong with the arguments is known before anything is made.
    let secret = match &command {
        Command::Add(add) => Some(add.secret()?),
        _ => None,
    };
    // An app that gets no secret has one, in a database that is there.
    let makes = secret.as_ref().is_some_and(|secret| !secret.is_empty());
    let opener = if makes { Opener::Creating } else { Opener::Using };
    block_on(async {
        let store = store::open(&config.store()?, opener).await;
        // Without the database no app is known, and a new one wants its secret.
        let is_empty = secret.as_ref().is_some_and(|secret| secret.is_empty());
        let store = if is_empty { store.context(NO_SECRET)? } else { store? };
        match command {
            Command::Add(add) => {
                add.run(secret.as_deref().map_or("", String::as_str), &*store, config).await
            }
            Command::List { json } => print(&store.apps().await?, json),
            Command::Show { appid, json } => {
                let app = find(&*store, &appid).await?;
                print(&[app.with_context(|| format!("there is no app `{appid}`"))?], json)
            }
            Command::Remove { appid } => {
                let id = AppId::from(appid.trim());
                ensure!(store.remove_app(&id).await?, "there is no app `{id}`");
                eprintln!("removed {id} with its users and sessions");
                Ok(())
            }
        }
    })
}

impl Add {
    async fn run(self, secret: &str, store: &dyn Store, config: &Config) -> Result<()> {
        let appid = AppId::from(self.appid.trim());
        if !AppId::is_like(appid.as_str()) {
            eprintln!("warning: `{appid}` is not `wx` and 16 hex digits, as WeChat's appids are");
        }
        let known = find(store, appid.as_str()).await?;
        let lifetime = known.as_ref().map_or(Lifetime::default(), |app| app.lifetime);
        let app = App {
            secret: match &known {
                Some(app) if secret.is_empty() => app.secret.clone(),
                _ => {
                    ensure!(!secret.is_empty(), NO_SECRET);
                    secret.into()
                }
            },
            lifetime: Lifetime {
                login_days: self.login_duration.unwrap_or(lifetime.login_days),
                idle_seconds: self.session_duration.unwrap_or(lifetime.idle_seconds),
            },
            is_default: self.default || known.as_ref().is_some_and(|app| app.is_default),
            appid,
        };
        store.put_app(&app).await?;
        eprintln!("{} {}", if known.is_some() { "changed" } else { "added" }, app.appid);
        if config.apps.iter().any(|configured| configured.appid.trim() == app.appid.as_str()) {
            eprintln!(
                "warning: `[[apps]]` of the configuration has it too and wins at the next start"
            );
        }
        Ok(())
    }

    /// The secret as given, without space around it.
    fn secret(&self) -> Result<Zeroizing<String>> {
        ensure!(!self.appid.trim().is_empty(), "the appid is empty");
        let text = if let Some(file) = &self.secret_file {
            std::fs::read_to_string(file)
                .with_context(|| format!("`--secret-file`: cannot read `{}`", file.display()))?
        } else {
            if stdin().is_terminal() {
                eprintln!(
                    "paste the AppSecret, then press Enter and Ctrl-D (Ctrl-D alone keeps the old \
                     one of an app that is known):"
                );
            }
            std::io::read_to_string(stdin()).context("cannot read the secret")?
        };
        Ok(Zeroizing::new(Zeroizing::new(text).trim().to_owned()))
    }
}

/// What is said where a secret is wanted.
const NO_SECRET: &str = "the secret is empty; give it on standard input or with `--secret-file`";

async fn find(store: &dyn Store, appid: &str) -> Result<Option<App>> {
    let apps = store.apps().await?;
    Ok(apps.into_iter().find(|app| app.appid.as_str() == appid.trim()))
}

fn print(apps: &[App], json: bool) -> Result<()> {
    if json {
        let rows: Vec<_> = apps
            .iter()
            .map(|app| {
                serde_json::json!({
                    "appid": app.appid.as_str(),
                    "login_duration": app.lifetime.login_days,
                    "session_duration": app.lifetime.idle_seconds,
                    "default": app.is_default,
                })
            })
            .collect();
        say!("{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    say!("{:<20} {:>15} {:>18}  DEFAULT", "APPID", "LOGIN (DAYS)", "UNUSED (SECONDS)")?;
    for app in apps {
        let default = if app.is_default { "yes" } else { "" };
        let Lifetime { login_days, idle_seconds } = app.lifetime;
        say!("{:<20} {login_days:>15} {idle_seconds:>18}  {default}", app.appid.as_str())?;
    }
    Ok(())
}
