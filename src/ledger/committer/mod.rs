//! The committer: the one task of a process that changes the ledger.
//!
//! Commands are collected, decided in order under the store's write lock, appended in one transaction, and answered
//! only when that is durable. No artificial delay: the next batch is whatever arrived during the last commit.

mod batch;
mod handle;
mod load;
mod refusals;
mod work;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::clock::Clock;
use crate::store::{Log, StoreError};
use crate::vault::Vault;

use super::command::{Command, EndedHow, Now, Reply};
use super::entry::Seq;
use super::row::Row;
use super::state::State;

use batch::Answer;
use handle::Shared;
pub use handle::{LedgerError, LedgerHandle};
#[cfg(test)]
pub(super) use load::{decode_snapshot, encode_snapshot};
use refusals::Refusals;

/// Jobs that wait for the committer, at most.
const QUEUE_MAX: usize = 4096;
/// Jobs of one batch, at most.
const BATCH_MAX: usize = 256;
/// How long the committer sleeps without work before it looks for foreign entries and overdue calls.
const IDLE: Duration = Duration::from_millis(200);
/// How often it looks for processes that died.
const DEATH_WATCH: Duration = Duration::from_millis(200);
/// After a failed write: how long everything is refused before writing is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Entries between two snapshots.
const SNAPSHOT_EVERY: u64 = 20_000;
/// A larger snapshot waits for as many entries that at most this much of it is written for each.
const SNAPSHOT_BYTES_PER_ENTRY: u64 = 50;

/// What a process says of itself when it joins the ledger.
#[derive(Debug, Clone)]
pub struct Registration {
    pub instance: String,
    pub egress_ip: String,
    /// After so many drifts of a limit its cap is lowered; none: never.
    pub learn_caps_after: Option<u8>,
    /// Whether alerts are delivered anywhere.
    pub webhook: bool,
}

/// What a reader does with the state, or with the reason why there is none.
type Look = Box<dyn FnOnce(Result<(&State, Now), LedgerError>) + Send>;

enum Job {
    Decide {
        command: Command,
        answer: Answer,
        /// Given back when the command is decided, whether or not somebody still waits for that.
        place: Option<OwnedSemaphorePermit>,
    },
    /// Looks at the state after everything before it is durable.
    Read(Look),
    /// The last job: what comes after it is refused.
    Stop,
}

struct Committer<L> {
    log: L,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Job>,
    registration: Option<Registration>,
    /// Who runs the command line, where that is what we are.
    actor: Option<Arc<str>>,
    /// None until it is loaded, and after a write of unknown outcome.
    state: Option<State>,
    /// Our own `process.started` entry.
    process: Option<Seq>,
    /// Pending calls and fetches of this process that somebody answers for.
    answered_for: HashSet<Seq>,
    refusals: Refusals,
    /// Why the last write failed, until a write has succeeded again.
    failure: Option<(String, Instant)>,
    death_watch: Instant,
    /// Entries that nobody was told of yet may let a call pass that was refused.
    room: bool,
    last_row: Option<Row>,
    /// Empty, and large enough: memory of this size is expensive to ask for with each batch.
    spare: (Vec<Answer>, Vec<Command>),
    spare_rows: Vec<Row>,
    snapshot_at: Seq,
    snapshot_bytes_last: u64,
}

/// Starts the committer on a thread of its own and waits until the ledger is loaded.
pub async fn start<L: Log + Send + 'static>(
    log: L,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    registration: Option<Registration>,
    actor: Option<Arc<str>>,
) -> Result<LedgerHandle, StoreError> {
    let (outbox, inbox) = mpsc::channel(QUEUE_MAX);
    let shared = Arc::new(Shared::new(Arc::clone(&clock)));
    let (ready, loaded) = oneshot::channel();
    let (stopped, on_stopped) = tokio::sync::watch::channel(false);
    let committer = Committer {
        log,
        vault,
        clock,
        shared: Arc::clone(&shared),
        inbox,
        registration,
        actor,
        state: None,
        process: None,
        answered_for: HashSet::new(),
        refusals: Refusals::default(),
        failure: None,
        death_watch: Instant::now(),
        room: false,
        last_row: None,
        spare: Default::default(),
        spare_rows: Vec::new(),
        snapshot_at: 0,
        snapshot_bytes_last: 0,
    };
    let setup = |error: std::io::Error| StoreError::Setup(format!("the committer's thread: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup)?;
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(move || {
            runtime.block_on(committer.run(ready));
            let _ = stopped.send(true);
        })
        .map_err(setup)?;
    loaded
        .await
        .map_err(|_| StoreError::Setup("the committer stopped while it loaded the ledger".to_owned()))??;
    Ok(LedgerHandle::new(outbox, shared, on_stopped))
}

impl<L: Log> Committer<L> {
    async fn run(mut self, ready: oneshot::Sender<Result<(), StoreError>>) {
        let begun = self.begin().await;
        let failed = begun.is_err();
        let _ = ready.send(begun);
        if failed {
            return;
        }
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        loop {
            // Without work there is still time to keep, and others may have written.
            let arrived = tokio::time::timeout(IDLE, self.inbox.recv_many(&mut jobs, BATCH_MAX)).await;
            if arrived == Ok(0) {
                break;
            }
            if jobs.iter().any(|job| matches!(job, Job::Stop)) {
                self.inbox.close();
            }
            self.batch(&mut jobs).await;
            self.snapshot_if_due();
        }
        self.end().await;
    }

    /// Loads the ledger and registers this process.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let Some(Registration { instance, egress_ip, learn_caps_after, webhook }) = self.registration.clone()
        else {
            return self.commit_one(None).await.map(|_| ());
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let pid = std::process::id();
        let start = Command::StartProcess { instance, pid, egress_ip, version, learn_caps_after, webhook };
        if let Some(Reply::Done { seq, .. }) = self.commit_one(Some(start)).await? {
            self.process = Some(seq);
        }
        Ok(())
    }

    /// Leaves the ledger in order.
    async fn end(&mut self) {
        self.refusals.close_all();
        let goodbye = self.process.map(|process| Command::EndProcess { process, how: EndedHow::Drained });
        while let Ok(Some(Reply::Done { changed: false, .. })) = self.commit_one(goodbye.clone()).await {
            if goodbye.is_none() || self.state.as_ref().is_none_or(|state| self.is_gone(state)) {
                break;
            }
        }
        if self.process.is_some()
            && let Some(bytes) = self.snapshot_bytes()
        {
            self.log.save_snapshot(bytes);
        }
    }

    fn is_gone(&self, state: &State) -> bool {
        self.process.is_none_or(|process| !state.processes.contains_key(&process))
    }
}
