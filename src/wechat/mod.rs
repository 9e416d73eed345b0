//! WeChat's side: the client of its API and the data it encrypts.

mod answer;
mod breaker;
pub mod call;
pub mod client;
pub mod error;
mod hosts;
pub mod open_data;
pub mod streamed;
pub mod token;
pub mod users;
