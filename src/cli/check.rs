//! `mina-auth check`

use std::process::ExitCode;

use anyhow::Result;

use super::block_on;
use crate::config::Config;
use crate::net::tls::Tls;
use crate::serve;

use crate::session::App;
use crate::store::{self, Opener, Settings, StorageUrl};

/// Goes through all that a server needs and says of each part how it is.
pub fn run(config: Result<Config>) -> Result<ExitCode> {
    let config = config?;
    say!("ok    the configuration is valid")?;
    for files in [config.server_tls()?, config.admin_tls()?].into_iter().flatten() {
        let section = files.section;
        Tls::open(files)?;
        say!("ok    the certificate of [{section}] can be used")?;
    }
    let apps = block_on(open(&config))?;
    if apps.is_empty() {
        say!("FAIL  there is no app: add one with `mina-auth app add` or `[[apps]]`")?;
        return Ok(ExitCode::FAILURE);
    }
    let wechat = serve::wechat(&config)?;
    let mut all_well = true;
    for app in &apps {
        let verdict = block_on(async { Ok(wechat.check_secret(app).await) })?;
        match verdict {
            Ok(()) => say!("ok    {}: WeChat accepts the appid and the secret", app.appid)?,
            Err(problem) => {
                all_well = false;
                say!("FAIL  {}: {problem}", app.appid)?;
            }
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the store and returns the apps that a server would have.
async fn open(config: &Config) -> Result<Vec<App>> {
    let mut apps = config.apps()?;
    if config.storage.url == StorageUrl::Memory {
        say!("ok    the store is in memory: sessions end with the server")?;
        return Ok(apps);
    }
    let settings = config.store()?;
    let stored = store::open(&settings, Opener::Creating).await?.apps().await?;
    say!("ok    the store {} can be used", config.storage.url)?;
    say!("{}", secrets(&settings))?;
    let configured = |app: &App| apps.iter().any(|other| other.appid == app.appid);
    let others: Vec<_> = stored.into_iter().filter(|app| !configured(app)).collect();
    apps.extend(others);
    Ok(apps)
}

/// Says whether secrets are encrypted in the store.
fn secrets(settings: &Settings) -> &'static str {
    match settings {
        Settings::Mysql(mysql) if mysql.keys.writes().is_none() => {
            "note  AppSecrets and session_keys are stored plain: set `secrets.keys` or `secrets.key_file`"
        }
        Settings::Mysql(mysql) if mysql.shared_with_php => {
            "note  session_keys are encrypted, but not what the PHP server reads: AppSecrets, session_keys and skeys"
        }
        _ => "ok    AppSecrets and session_keys are encrypted",
    }
}
