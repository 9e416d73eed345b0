//! `mina-auth user`

use anyhow::{Result, ensure};
use clap::Subcommand;
use serde_json::{Value, json};

use super::block_on;
use super::session::{LIST_LIMIT, to_json};
use crate::config::Config;
use crate::session::{App, AppId, OpenId, Session, SessionId};
use crate::store::users::{Account, Users};
use crate::store::{self, Opener, Selection, Store, Whose};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show users with their profile and sessions; no key is ever shown
    Show(Chosen),
    /// Erase users: profile, keys and sessions
    Delete(Chosen),
}

/// Which users.
#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// Only those of this app
    #[arg(long, value_name = "APPID")]
    app: Option<String>,
    #[command(flatten)]
    one: One,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct One {
    /// The user with this openid
    #[arg(long)]
    openid: Option<String>,
    /// The users with this unionid, one in each app
    #[arg(long)]
    unionid: Option<String>,
}

pub fn run(command: Command, config: &Config) -> Result<()> {
    block_on(async {
        let store = store::open(&config.store()?, Opener::Using).await?;
        match command {
            Command::Show(chosen) => show(&*store, chosen).await,
            Command::Delete(chosen) => delete(&*store, chosen).await,
        }
    })
}

impl Chosen {
    async fn accounts(&self, store: &dyn Store) -> Result<Vec<Account>> {
        let which = Users {
            appid: self.app.as_deref().map(AppId::from),
            open_id: self.one.openid.as_deref().map(OpenId::from),
            union_id: self.one.unionid.clone(),
            after: None,
        };
        Ok(store.users(&which, LIST_LIMIT).await?)
    }
}

async fn show(store: &dyn Store, chosen: Chosen) -> Result<()> {
    let (accounts, apps) = (chosen.accounts(store).await?, store.apps().await?);
    ensure!(!accounts.is_empty(), "there is no such user");
    let mut shown = Vec::new();
    for account in accounts {
        let whose = Whose::User(account.open_id.clone());
        let selection = Selection { appid: Some(account.appid.clone()), whose };
        let sessions = store.sessions(&selection, LIST_LIMIT).await?;
        shown.push(shown_as(&account, &sessions, &apps));
    }
    if chosen.json {
        say!("{}", serde_json::to_string_pretty(&shown)?)?;
        return Ok(());
    }
    for user in shown {
        for name in ["app", "openid", "unionid", "profile"] {
            let value = &user[name];
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            say!("{name:<10}  {}", if value.is_null() { "-" } else { &text })?;
        }
        for session in user["sessions"].as_array().into_iter().flatten() {
            let [id, created, state] =
                ["id", "created", "state"].map(|name| session[name].as_str().unwrap_or_default());
            say!("session     {id}  since {created}, {state}")?;
        }
        say!()?;
    }
    Ok(())
}

fn shown_as(account: &Account, sessions: &[Session], apps: &[App]) -> Value {
    let sessions: Vec<_> = sessions.iter().map(|session| to_json(session, apps)).collect();
    json!({
        "app": account.appid.as_str(),
        "openid": account.open_id.as_str(),
        "unionid": account.union_id,
        "profile": account.profile(),
        "sessions": sessions,
    })
}

async fn delete(store: &dyn Store, chosen: Chosen) -> Result<()> {
    let owners: Vec<_> = if let Some(openid) = &chosen.one.openid {
        // Also who logged in by the PHP server alone, and is in no list of users.
        let apps = store.apps().await?.into_iter().map(|app| app.appid);
        let is_meant =
            |appid: &AppId| chosen.app.as_deref().is_none_or(|app| app == appid.as_str());
        let openid = OpenId::from(openid.as_str());
        apps.filter(is_meant).map(|appid| (appid, openid.clone())).collect()
    } else {
        let accounts = chosen.accounts(store).await?.into_iter();
        accounts.map(|account| (account.appid, account.open_id)).collect()
    };
    let (mut users, mut sessions) = (Vec::new(), Vec::new());
    for (appid, open_id) in owners {
        let erased = store.erase(&appid, &open_id).await?;
        if erased.was_known {
            users.push(json!({ "app": appid.as_str(), "openid": open_id.as_str() }));
        }
        sessions.extend(erased.sessions);
    }
    let ids: Vec<_> = sessions.iter().map(SessionId::as_str).collect();
    if chosen.json {
        say!("{}", json!({ "erased": users, "sessions": ids }))?;
    }
    ensure!(!users.is_empty(), "there is no such user");
    eprintln!("erased {} user(s) and {} session(s)", users.len(), ids.len());
    Ok(())
}
