//! `mina-auth serve`

use anyhow::Result;

use super::{block_on, stop_signal};
use crate::config::Config;
use crate::serve::{Listeners, serve};
use crate::telemetry;

pub fn run(config: &Config) -> Result<()> {
    telemetry::start(&config.log);
    let listeners = Listeners::bind(config)?;
    block_on(async { serve(config, listeners, None, stop_signal()?).await })
}
