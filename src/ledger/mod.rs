//! The core: one append-only log of entries, and one fold over it.

pub mod alerts;
pub mod apply;
pub mod canonical;
pub mod command;
pub mod committer;
pub mod decide;
pub mod delivered;
pub mod directory;
pub mod entry;
pub mod kind;
pub mod learned;
pub mod penalties;
pub mod remembered;
pub mod room;
pub mod row;
pub mod sizes;
pub mod state;
#[cfg(test)]
mod tests;
mod units;

pub use command::{Command, Now, Rejected, Reply};
pub use committer::{LedgerError, LedgerHandle};
pub use decide::{ClockReading, Decision, decide};
pub use entry::{Draft, Entry, Fingerprint, Refs, Seq, hex_bytes};
pub use kind::Kind;
pub use row::Row;
pub use state::State;
