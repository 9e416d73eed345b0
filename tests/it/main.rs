//! Whole-server tests: the real binary, real sockets, a WeChat of the tests' own or the simulator.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test, and says where")]

mod access;
mod admin_api;
mod alarm;
mod api;
mod apps;
mod at_rest;
mod bad_config;
mod cli;
mod conformance;
mod connections;
mod console;
mod dev;
mod endpoint;
mod expiry;
mod faults;
mod fuzz;
mod health;
mod initdata;
mod limits;
mod logins;
mod mariadb;
mod metrics;
mod mysql;
mod naughty;
mod outage;
mod process;
mod secrets;
mod shutdown;
mod stats;
mod support;
mod tls;
mod unix_sockets;
mod wechat;
mod wechat_api;
