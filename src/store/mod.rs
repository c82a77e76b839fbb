//! The store: where entries are kept. Nothing outside knows which engine it is, and no SQL stands elsewhere.

mod lock;
pub mod sqlite;

use std::future::Future;

use crate::ledger::row::DamagedRow;
use crate::ledger::{Row, Seq};

pub use lock::{FileLock, LockFiles, ProcessLock};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is known about what was written; the connection must be replaced and the state reloaded.
    #[error("the ledger can't be written: {0}")]
    Write(String),
    #[error("the ledger can't be read: {0}")]
    Read(String),
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
    #[error("{0}")]
    Setup(String),
}

/// Rows and secrets that become durable together, or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    pub rows: Vec<Row>,
    /// Sealed secrets, each under the `seq` of its entry.
    pub sealed: Vec<(Seq, Vec<u8>)>,
    /// Sealed secrets that nothing can need any more.
    pub erase: Vec<Seq>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sealed.is_empty() && self.erase.is_empty()
    }
}

/// The log as the committer needs it: one writer at a time over all processes, append-only.
pub trait Log {
    /// Waits for the write lock, fairly. Answers whether somebody else has held it since we did.
    fn lock(&mut self) -> Result<bool, StoreError>;
    fn unlock(&mut self);
    /// At most `max` rows after `after`, in order.
    fn rows_after(&mut self, after: Seq, max: u32) -> impl Future<Output = Result<Vec<Row>, StoreError>>;
    /// Durable when it returns. After an error the outcome is unknown until `reopen`.
    fn append(&mut self, batch: &Batch) -> impl Future<Output = Result<(), StoreError>>;
    /// Replaces the connection and verifies that what is there is on disk.
    fn reopen(&mut self) -> impl Future<Output = Result<(), StoreError>>;
    /// The newest usable snapshot, if any.
    fn load_snapshot(&mut self) -> Option<Vec<u8>>;
    fn save_snapshot(&mut self, bytes: Vec<u8>);
    /// Whether the process that registered as `instance` is certainly gone.
    fn is_dead(&mut self, instance: &str) -> bool;
}
