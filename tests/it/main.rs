//! End-to-end tests: the real binary, from outside.
//!
//! Everything runs on loopback with free ports and temporary directories, so tests may run side by side.

mod support;

mod gateway;
