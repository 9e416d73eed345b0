//! HTTP: the listeners, who may connect to them, the protocol endpoint and the health checks.

pub mod access_key;
pub mod address;
pub mod admin;
pub mod bodies;
pub mod connections;
pub mod door;
pub mod express;
pub mod health;
pub mod listener;
pub mod mina_auth;
pub mod refusals;
pub mod tls;
