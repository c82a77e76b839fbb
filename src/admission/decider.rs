//! What the line needs of the ledger, so that tests can bring their own.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ledger::command::{Command, Reply};
use crate::ledger::directory::Directory;
use crate::ledger::{LedgerError, LedgerHandle, Seq};

/// Decides, and tells the time that its answers are in. See [`LedgerHandle`].
pub trait Decider: Send + Sync + 'static {
    fn decide(&self, command: Command) -> impl Future<Output = Result<Reply, LedgerError>> + Send;
    /// The present, in ledger time.
    fn tick(&self) -> i64;
    /// Changes when a call may pass that was refused, before its window says so.
    fn room(&self) -> watch::Receiver<u64>;
    fn directory(&self) -> Arc<Directory>;
    /// Nobody will say how this pending call ended.
    fn abandon(&self, pending: Seq);
}

impl Decider for LedgerHandle {
    fn decide(&self, command: Command) -> impl Future<Output = Result<Reply, LedgerError>> + Send {
        LedgerHandle::decide(self, command)
    }

    fn tick(&self) -> i64 {
        LedgerHandle::tick(self)
    }

    fn room(&self) -> watch::Receiver<u64> {
        LedgerHandle::room(self)
    }

    fn directory(&self) -> Arc<Directory> {
        LedgerHandle::directory(self)
    }

    fn abandon(&self, pending: Seq) {
        LedgerHandle::abandon(self, pending);
    }
}
