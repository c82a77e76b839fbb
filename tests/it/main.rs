//! End-to-end tests: the real binary, from outside.
//!
//! Everything runs on loopback with free ports and temporary directories, so tests may run side by side.

mod support;

mod disk;
mod gateway;
mod refusals;
mod secrets;
mod streams;
mod upstream;
