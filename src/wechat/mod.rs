//! WeChat's side: the client of its API, the data it encrypts, and a simulator of both.

pub mod client;
pub mod open_data;
pub mod simulator;
