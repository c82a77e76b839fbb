//! Puts the parts together and runs them.

mod drain;
mod listen;
mod serve;

pub use serve::serve;
