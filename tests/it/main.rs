//! End-to-end tests: the real binary, from outside.
//!
//! Everything runs on loopback with free ports and temporary directories, so tests may run side by side.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says why")]

mod support;

mod disk;
mod gateway;
mod refusals;
mod secrets;
mod streams;
mod upstream;
mod alertmanager;
mod deploy;
mod gateway;
mod kill;
mod plain_http;
mod restart;
mod two_processes;
mod wechatpy;
