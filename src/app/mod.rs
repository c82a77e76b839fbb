//! Puts the parts together and runs them.

mod demo;
mod drain;
mod learn;
mod listen;
mod reconcile;
mod sandbox;
mod serve;

pub use demo::demo;
pub use learn::{Learned, learn};
pub use reconcile::reconcile;
pub use sandbox::sandbox;
pub use serve::serve;
