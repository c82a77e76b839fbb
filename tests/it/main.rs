//! End-to-end tests: the real binary, from outside.
//!
//! Everything runs on loopback with free ports and temporary directories, so tests may run side by side.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says why")]

mod support;

mod alertmanager;
mod costs;
mod demo;
mod deploy;
mod disk;
mod fair;
mod gateway;
mod greedy;
mod incidents;
mod kill;
mod line;
mod own;
mod pains;
mod plain_http;
mod reconcile;
mod refusals;
mod restart;
mod rows;
mod secrets;
#[cfg(feature = "test-clock")]
mod set_clock;
mod streams;
mod tls;
mod two_processes;
mod upstream;
mod webhook;
mod wechatpy;
