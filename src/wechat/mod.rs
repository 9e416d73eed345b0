//! WeChat's side: the client of its API, the data it encrypts, and a simulator of both.

mod breaker;
pub mod client;
pub mod open_data;
pub mod simulator;
