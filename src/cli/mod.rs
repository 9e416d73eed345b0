//! The commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

use crate::config::Config;
use crate::store::StorageUrl;
use crate::telemetry;

/// Writes a line of output.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*)
    }};
}

mod app;
mod check;
mod config;
mod dev;
mod import;
mod migrate;
mod secrets;
mod serve;
mod session;
mod simulate;
mod stats;
mod user;

/// The session server for WeChat mini programs.
#[derive(Debug, Parser)]
#[command(name = "mina-auth", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file; `MINA_AUTH_CONFIG` names it too. Without one the defaults and the
    /// environment count
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the session protocol
    Serve,
    /// Try everything on this machine: a server, a fresh store, a simulated WeChat and one app
    Dev(dev::Args),
    /// Run the WeChat simulator alone
    Simulate(simulate::Args),
    /// Manage the mini programs that may log in
    #[command(subcommand)]
    App(app::Command),
    /// Look at sessions and end them
    #[command(subcommand)]
    Session(session::Command),
    /// Show and erase users
    #[command(subcommand)]
    User(user::Command),
    /// Show success rates and the reasons of failures
    Stats(stats::Args),
    /// Bring the database's schema up to date (`serve` does so too)
    Migrate(migrate::Args),
    /// Copy the apps and sessions of a Wafer server's MySQL database into the store
    Import(import::Args),
    /// Make keys, and encrypt what is in the store under a new one
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Check the configuration, the store, and each app's secret with WeChat
    Check,
    /// Print the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

/// Runs the program: 0 is success, 1 a failure, 2 a wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        // Who closed the pipe has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mina-auth: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: Cli) -> Result<ExitCode> {
    keep_to_oneself().context("core dumps cannot be turned off")?;
    let named = || std::env::var_os("MINA_AUTH_CONFIG").filter(|name| !name.is_empty());
    let file = cli.config.or_else(|| named().map(Into::into));
    let load = || Config::load(file.as_deref());
    let load_for_store = || {
        let config = load()?;
        if file.is_none() {
            ensure_chosen(&config)?;
        }
        Ok::<_, anyhow::Error>(config)
    };
    if !matches!(cli.command, Command::Serve | Command::Dev(_) | Command::Simulate(_)) {
        telemetry::start_warnings();
    }
    match cli.command {
        Command::Serve => serve::run(&load()?)?,
        Command::Dev(args) => dev::run(&args)?,
        Command::Simulate(args) => simulate::run(args)?,
        Command::App(command) => app::run(command, &load_for_store()?)?,
        Command::Session(command) => session::run(command, &load_for_store()?)?,
        Command::User(command) => user::run(command, &load_for_store()?)?,
        Command::Stats(args) => stats::run(&args, &load_for_store()?)?,
        Command::Migrate(args) => migrate::run(&args, &load_for_store()?)?,
        Command::Import(args) => import::run(&args, &load()?)?,
        Command::Secrets(command) => secrets::run(&command, load_for_store)?,
        Command::Check => return check::run(load_for_store()),
        Command::Config(command) => config::run(&command, load)?,
        Command::Completions { shell } => {
            use clap::CommandFactory as _;
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "mina-auth",
                &mut std::io::stdout(),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses to make a database that nobody has chosen: where there is no configuration, one that is
/// not there yet is most likely the wrong one.
fn ensure_chosen(config: &Config) -> Result<()> {
    let StorageUrl::Sqlite(path) = &config.storage.url else { return Ok(()) };
    let is_chosen = std::env::var_os("MINA_AUTH__STORAGE__URL").is_some();
    anyhow::ensure!(
        is_chosen || path.exists(),
        "there is no configuration, and no database at `{}`, which would be made now: name the \
         configuration with `--config`, or run this in the directory of the server",
        std::path::absolute(path).as_deref().unwrap_or(path).display()
    );
    Ok(())
}

/// Sees to it that what this process writes and what it holds in memory is for its user alone.
fn keep_to_oneself() -> std::io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    // A core dump has every secret in it.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // The limit does not hold where the kernel pipes dumps into a program; this does, and keeps
    // others of this user from reading memory and environment as well.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Runs a command's work on one thread.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Heeds SIGTERM and SIGINT from now on; the future is ready when one came.
///
/// Called inside a runtime, and before anybody is told that the program is up.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn the_process_leaves_nothing_to_others() {
        keep_to_oneself().unwrap();
        assert_eq!(umask(Mode::RWXG | Mode::RWXO), Mode::RWXG | Mode::RWXO);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
