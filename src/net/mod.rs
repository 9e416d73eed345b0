//! How connections are served, whatever is served on them.

pub mod address;
pub mod connections;
pub mod door;
pub mod lane;
pub mod listener;
pub mod open_files;
pub mod refusals;
pub mod tls;
