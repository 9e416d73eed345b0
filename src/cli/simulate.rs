//! `mina-auth simulate`

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use secrecy::SecretString;

use super::{block_on, dev, stop_signal};
use crate::config::Config;
use crate::session::AppId;
use crate::simulator::Simulator;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// An app that the simulator knows; may be given more than once. The secret is a made-up
    /// one: never give a real one on the command line [default: the app of `mina-auth dev`]
    #[arg(long, value_name = "APPID=SECRET", value_parser = parse_app)]
    app: Vec<(String, String)>,
}

fn parse_app(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((appid, secret)) if !appid.is_empty() && !secret.is_empty() => {
            Ok((appid.to_owned(), secret.to_owned()))
        }
        _ => Err("expected APPID=SECRET"),
    }
}

pub fn run(args: Args) -> Result<()> {
    telemetry::start(&Config::load(None)?.log);
    let mut apps: Vec<(AppId, SecretString)> =
        args.app.into_iter().map(|(appid, secret)| (appid.into(), secret.into())).collect();
    if apps.is_empty() {
        apps.push((dev::APPID.into(), dev::SECRET.into()));
    }
    block_on(async {
        let stop = stop_signal()?;
        let socket = tokio::net::TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("`--listen`: cannot listen on {}", args.listen))?;
        tracing::info!(listener = "simulator", address = %socket.local_addr()?, "listening");
        Ok(Simulator::new(apps).serve(socket, stop).await?)
    })
}
