//! The Wafer session protocol: its envelope, its names and its return codes. No I/O.

pub mod answer;
pub mod codes;
pub mod request;
