//! Mina Auth: the session server for WeChat mini programs.
//!
//! A request's way: [`net`] reads it, a surface in [`http`] names what it asks for, [`operations`]
//! decide, [`store`] and [`wechat`] do the I/O, and the surface turns the outcome into an answer.
//! Each knows those after it and none before; only [`serve`] and [`cli`] know [`config`].

pub mod admin;
pub mod causes;
pub mod choices;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod json;
pub mod net;
pub mod operations;
pub mod random;
mod recent;
pub mod secrets;
pub mod serve;
pub mod session;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod wafer;
pub mod wechat;
