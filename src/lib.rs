//! Mina Auth: the session server for WeChat mini programs.
//!
//! A request's way: [`http`] parses, [`protocol`] names it, [`login`], [`auth`] and [`decrypt`]
//! decide, [`store`] and [`wechat`] do the I/O, and one `match` in [`protocol`] turns the outcome
//! into a return code. Nothing below knows [`http`]; only [`serve`] and [`cli`] know [`config`].

pub mod auth;
pub mod causes;
pub mod choices;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decrypt;
pub mod http;
pub mod json;
pub mod limits;
pub mod login;
pub mod open_files;
pub mod operations;
pub mod protocol;
pub mod random;
mod recent;
pub mod secrets;
pub mod serve;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod wechat;
