//! wecom-ledger: one binary between a company's programs and WeCom, which keeps the ledger of it.
//!
//! Read `ARCHITECTURE.md` first; the modules are listed there in reading order.

pub mod admission;
pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datadir;
pub mod gateway;
pub mod http;
pub mod ledger;
pub mod quota;
pub mod sandbox;
pub mod store;
pub mod vault;
pub mod webhook;
pub mod wecom;
