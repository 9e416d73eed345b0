//! `mina-auth dev`

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;

use super::{block_on, stop_signal};
use crate::admin::console::Phone;
use crate::config::{Addresses, Config, Hidden, HiddenTexts};
use crate::net::address::Address;
use crate::random;
use crate::secrets::Key;
use crate::serve::{Listeners, serve};
use crate::session::SessionId;
use crate::simulator::Simulator;
use crate::store::StorageUrl;
use crate::telemetry;

/// The app of `dev` and of a simulator that is given none.
pub const APPID: &str = "wx0123456789abcdef";

/// Its secret, which is none.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the protocol is served
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the simulated WeChat listens
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS")]
    simulator_listen: SocketAddr,
    /// Where the console, the numbers and the health checks are served
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// The store to use, such as sqlite:dev.db [default: a fresh one, gone at the end]
    #[arg(long, value_name = "URL")]
    store: Option<StorageUrl>,
}

pub fn run(args: &Args) -> Result<()> {
    // A file or a secret of the real server must not get in here.
    let mut config = Config::defaults()?;
    telemetry::start(&config.log);
    let fresh = args.store.is_none().then(FreshStore::new).transpose()?;
    config.server.listen = Addresses(vec![Address::Ip(args.listen)]);
    config.admin.listen = Addresses(vec![Address::Ip(args.admin_listen)]);
    let token = SecretString::from(SessionId::new(random::bytes()).as_str());
    config.admin.token = Hidden(token.clone());
    config.api.phone = true;
    config.apps = vec![crate::config::ConfiguredApp::of(APPID, SECRET)];
    config.storage.url = match (&args.store, &fresh) {
        (Some(url), _) => url.clone(),
        (None, Some(fresh)) => StorageUrl::Sqlite(fresh.0.join("mina-auth.db")),
        (None, None) => StorageUrl::Memory,
    };
    if fresh.is_some() {
        // A key that is gone with the store needs no file, and no word about its backup.
        config.secrets.keys = HiddenTexts(vec![Key::generate()]);
    }
    block_on(async {
        let stop = stop_signal()?;
        let simulator =
            tokio::net::TcpListener::bind(args.simulator_listen).await.with_context(|| {
                format!("`--simulator-listen`: cannot listen on {}", args.simulator_listen)
            })?;
        let simulator_address = simulator.local_addr()?;
        config.wechat.base_url = format!("http://{simulator_address}");
        let listeners = Listeners::bind(&config)?;
        let address = listeners.public_addresses().next().context("no address to listen on")?;
        let address = address.clone();
        let admin = listeners.admin_addresses().next().context("no address to listen on")?;
        let console = format!("http://{admin}/?token={}", token.expose_secret());
        say!("{}", instructions(&address, simulator_address, &console))?;
        let (stopping, mut stopped) = watch::channel(false);
        let simulating = tokio::spawn(
            Simulator::new([(APPID.into(), SECRET.into())])
                .serve(simulator, async move { drop(stopped.wait_for(|stop| *stop).await) }),
        );
        let phone = Phone::new(config.wechat.base_url.clone(), format!("http://{address}"));
        let phone = phone.context("the phone of the console")?;
        let served = serve(&config, listeners, Some(phone), stop).await;
        stopping.send_replace(true);
        simulating.await??;
        served
    })
}

/// A directory of its own, removed at the end.
struct FreshStore(PathBuf);

impl FreshStore {
    fn new() -> Result<Self> {
        let name = format!("mina-auth-dev-{}", SessionId::new(random::bytes()).as_str());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory)
            .with_context(|| format!("cannot make a store in `{}`", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for FreshStore {
    fn drop(&mut self) {
        // What cannot be removed from the temporary directory is left to its cleaner.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn instructions(server: &Address, simulator: SocketAddr, console: &str) -> String {
    format!(
        r#"mina-auth dev: a session server and a simulated WeChat, on this machine only

    plain API         http://{server}/v1
    Wafer protocol    http://{server}/mina_auth/
    simulated WeChat  http://{simulator}
    appid             {APPID}

Open the console, and play a phone there:

    {console}

Or paste these into another terminal.

1. A phone calls wx.login(); the code works once, for five minutes:

code=$(curl -s http://{simulator}/sim/code)

2. The code becomes a session, and its token goes back to the phone:

token=$(curl -s http://{server}/v1/login -d '{{"code":"'$code'"}}' | cut -d '"' -f 4)

3. Whose session is it? Your proxy asks that with every later request:

curl -i http://{server}/v1/forward-auth -H "Authorization: Bearer $token"

Ctrl-C ends both.
"#
    )
}
