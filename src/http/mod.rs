//! HTTP: the listeners, the protocol endpoint and the health checks.

pub mod answer;
pub mod connections;
pub mod health;
pub mod listener;
pub mod mina_auth;
