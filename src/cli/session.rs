//! `mina-auth session`

use anyhow::{Result, ensure};
use clap::Subcommand;
use serde_json::{Value, json};

use super::block_on;
use crate::clock;
use crate::config::Config;
use crate::session::{App, Session, SessionId, state};
use crate::store::{self, Opener, Selection, Whose};

/// How many sessions `list` prints.
pub const LIST_LIMIT: u32 = 1000;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List sessions, the newest login first
    List(Which),
    /// Show sessions with their user's profile; no key is ever shown
    Show(Chosen),
    /// End sessions: their users must log in again
    Revoke(Chosen),
}

/// Whose sessions; everyone's, when nothing is given.
#[derive(Debug, clap::Args)]
pub struct Which {
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
#[group(multiple = false)]
struct One {
    /// The sessions of this user
    #[arg(long)]
    openid: Option<String>,
    /// The session with this id
    #[arg(long)]
    id: Option<String>,
}

/// Whose sessions; a user or a session must be given.
#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// Only those of this app
    #[arg(long, value_name = "APPID")]
    app: Option<String>,
    #[command(flatten)]
    one: ChosenOne,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ChosenOne {
    /// The sessions of this user
    #[arg(long)]
    openid: Option<String>,
    /// The session with this id
    #[arg(long)]
    id: Option<String>,
}

fn selection(app: Option<String>, openid: Option<String>, id: Option<String>) -> Selection {
    let whose = match (openid, id) {
        (Some(openid), _) => Whose::User(openid.into()),
        (None, Some(id)) => Whose::Session(id.into()),
        (None, None) => Whose::Everyone,
    };
    Selection { appid: app.map(Into::into), whose }
}

impl From<Chosen> for Selection {
    fn from(Chosen { app, one, .. }: Chosen) -> Self {
        selection(app, one.openid, one.id)
    }
}

pub fn run(command: Command, config: &Config) -> Result<()> {
    block_on(async {
        let store = store::open(&config.store()?, Opener::Using).await?;
        match command {
            Command::List(Which { app, one, json }) => {
                let selection = selection(app, one.openid, one.id);
                let sessions = store.sessions(&selection, LIST_LIMIT + 1).await?;
                let more = sessions.len() > LIST_LIMIT as usize;
                let shown = &sessions[..sessions.len().min(LIST_LIMIT as usize)];
                list(shown, &store.apps().await?, json)?;
                if more {
                    eprintln!(
                        "only the newest {LIST_LIMIT} are shown; choose with `--app` or `--openid`"
                    );
                }
            }
            Command::Show(chosen) => {
                let json = chosen.json;
                let sessions = store.sessions(&chosen.into(), LIST_LIMIT).await?;
                ensure!(!sessions.is_empty(), "there is no such session");
                show(&sessions, &store.apps().await?, json)?;
            }
            Command::Revoke(chosen) => {
                let json = chosen.json;
                let revoked = store.revoke(&chosen.into()).await?;
                let ids: Vec<_> = revoked.iter().map(SessionId::as_str).collect();
                if json {
                    say!("{}", json!({ "revoked": ids }))?;
                }
                ensure!(!ids.is_empty(), "there is no such session");
                eprintln!("revoked {} session(s)", ids.len());
            }
        }
        Ok(())
    })
}

fn app_of<'a>(session: &Session, apps: &'a [App]) -> Option<&'a App> {
    apps.iter().find(|app| app.appid == session.appid)
}

/// What is shown of a session; no key is.
pub fn to_json(session: &Session, apps: &[App]) -> Value {
    let app = app_of(session, apps);
    json!({
        "id": session.id.as_str(),
        "app": session.appid.as_str(),
        "openid": session.open_id.as_str(),
        "unionid": session.user.union_id,
        "created": clock::rfc3339(session.created),
        "last_visit": clock::rfc3339(session.last_visit),
        "state": state(session, app, clock::now()),
    })
}

fn list(sessions: &[Session], apps: &[App], json: bool) -> Result<()> {
    if json {
        let rows: Vec<_> = sessions.iter().map(|session| to_json(session, apps)).collect();
        say!("{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    say!(
        "{:<32}  {:<18}  {:<28}  {:<20}  {:<20}  STATE",
        "ID",
        "APP",
        "OPENID",
        "CREATED",
        "LAST VISIT"
    )?;
    for session in sessions {
        say!(
            "{:<32}  {:<18}  {:<28}  {}  {}  {}",
            session.id.as_str(),
            session.appid.as_str(),
            session.open_id.as_str(),
            clock::rfc3339(session.created),
            clock::rfc3339(session.last_visit),
            state(session, app_of(session, apps), clock::now()),
        )?;
    }
    Ok(())
}

fn show(sessions: &[Session], apps: &[App], json: bool) -> Result<()> {
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            let mut row = to_json(session, apps);
            row["user_info"] = serde_json::from_str(&session.user.profile).unwrap_or(Value::Null);
            row
        })
        .collect();
    if json {
        say!("{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    for row in rows {
        for (name, value) in row.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            say!("{name:<10}  {text}")?;
        }
        say!()?;
    }
    Ok(())
}
