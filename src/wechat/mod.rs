//! WeChat's side: the client of its API and the data it encrypts.

mod breaker;
pub mod client;
pub mod open_data;
