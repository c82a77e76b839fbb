//! Puts the parts together and runs them.

mod demo;
mod drain;
mod listen;
mod sandbox;
mod serve;

pub use demo::demo;
pub use sandbox::sandbox;
pub use serve::serve;
