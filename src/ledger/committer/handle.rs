//! How the rest of the program talks to the committer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use std::time::Instant;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::ledger::command::{Command, Now, Reply};
use crate::ledger::directory::Directory;
use crate::ledger::entry::Seq;
use crate::ledger::state::State;

use super::Job;
use super::batch::each_pending;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger can't be written, so nothing is sent: {0}")]
    Unavailable(String),
    #[error("the ledger's queue is full; try again in a moment")]
    Busy,
    #[error("the ledger is shutting down")]
    Stopped,
}

/// What the committer publishes for readers: always what is durable.
pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    directory: RwLock<Arc<Directory>>,
    ledger_id: RwLock<Arc<str>>,
    head: AtomicU64,
    tick_offset: AtomicI64,
    tick_floor: AtomicI64,
    failure: RwLock<Option<String>>,
    /// Pendings whose outcome could not be written: to be expired as soon as writing works.
    pub(super) abandoned: Mutex<BTreeSet<Seq>>,
    /// When the state was last known to be up to date with other processes.
    seen_at: Mutex<Instant>,
    /// Counts up when a call may pass that was refused before.
    room: watch::Sender<u64>,
    /// One look at foreign entries serves all who want one.
    refreshing: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            directory: RwLock::default(),
            ledger_id: RwLock::new("".into()),
            head: AtomicU64::new(0),
            tick_offset: AtomicI64::new(0),
            tick_floor: AtomicI64::new(0),
            failure: RwLock::default(),
            abandoned: Mutex::default(),
            seen_at: Mutex::new(Instant::now()),
            room: watch::Sender::new(0),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    /// `seen_at` is when the write lock was taken: nothing foreign that was written before is missing.
    pub(super) fn publish(&self, state: &State, seen_at: Instant) {
        self.tick_offset.store(state.clock.offset_ms, Ordering::Release);
        self.tick_floor.store(state.tick, Ordering::Release);
        let same = Arc::ptr_eq(&read(&self.directory), &state.directory);
        if !same {
            *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state.directory);
        }
        if read(&self.ledger_id).is_empty() && !state.ledger_id.is_empty() {
            *self.ledger_id.write().unwrap_or_else(PoisonError::into_inner) = state.ledger_id.as_str().into();
        }
        *self.seen_at.lock().unwrap_or_else(PoisonError::into_inner) = seen_at;
        // Last: whoever reads the head and then the directory finds every name up to that head.
        self.head.store(state.head, Ordering::Release);
    }

    pub(super) fn room_is_watched(&self) -> bool {
        self.room.receiver_count() > 0
    }

    pub(super) fn give_room(&self) {
        self.room.send_modify(|given| *given = given.wrapping_add(1));
    }

    pub(super) fn set_failure(&self, failure: Option<String>) {
        if *read(&self.failure) != failure {
            *self.failure.write().unwrap_or_else(PoisonError::into_inner) = failure;
        }
    }

    pub(super) fn take_abandoned(&self) -> BTreeSet<Seq> {
        std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn abandon(&self, pending: Seq) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).insert(pending);
    }
}

/// A reader never leaves the value half-changed, so a poisoned lock is still good.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody waits for an answer. If they go away between its sending and its arrival, the pending that it names has
/// nobody who answers for it.
struct Waiting<'a> {
    answered: oneshot::Receiver<Result<Reply, LedgerError>>,
    shared: &'a Shared,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answered.close();
        if let Ok(Ok(reply)) = self.answered.try_recv() {
            each_pending(&reply, &mut |pending| self.shared.abandon(pending));
        }
    }
}

fn refused(error: &TrySendError<Job>) -> LedgerError {
    match error {
        TrySendError::Full(_) => LedgerError::Busy,
        TrySendError::Closed(_) => LedgerError::Stopped,
    }
}

/// A cheap clone; the committer ends when the last one is dropped.
#[derive(Clone)]
pub struct LedgerHandle {
    outbox: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
}

impl LedgerHandle {
    pub(super) fn new(
        outbox: mpsc::Sender<Job>,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self { outbox, shared, stopped }
    }

    /// The answer comes when everything that it says is durable. The command is in the queue when this returns, or when
    /// its future is polled, and is not taken back if that is dropped.
    pub fn decide(&self, command: Command) -> impl Future<Output = Result<Reply, LedgerError>> + Send {
        self.ask(command, None)
    }

    /// The same; `place` is given back when the command is decided, also if whoever asked has gone by then: what waits
    /// in the queue is bounded by it.
    pub fn decide_in_place(
        &self,
        command: Command,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = Result<Reply, LedgerError>> + Send {
        self.ask(command, Some(place))
    }

    /// The command is not kept in the future: it is large, and would be so again in every future around this one.
    fn ask(
        &self,
        command: Command,
        place: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = Result<Reply, LedgerError>> + Send {
        let (answer, answered) = oneshot::channel();
        // New work is refused when the queue is full; the end of work that was begun waits for its place.
        let ends_something = matches!(
            command,
            Command::Settle { .. }
                | Command::SettleTaught { .. }
                | Command::EndFetch { .. }
                | Command::Invalidate { .. }
        );
        let queued = match self.outbox.try_send(Job::Decide { command, answer, place }) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(job)) if ends_something => Ok(Some(Box::pin(self.outbox.send(job)))),
            Err(error) => Err(refused(&error)),
        };
        let mut waiting = Waiting { answered, shared: &self.shared };
        async move {
            if let Some(place) = queued? {
                place.await.map_err(|_| LedgerError::Stopped)?;
            }
            (&mut waiting.answered).await.map_err(|_| LedgerError::Stopped)?
        }
    }

    /// Looks at the whole state, after everything that was asked before.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State, Now) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Read(Box::new(move |seen| {
            let _ = answer.send(seen.map(|(state, now)| look(state, now)));
        }));
        self.send(job)?;
        answered.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Makes `directory` up to date with what other processes wrote until now.
    pub async fn refresh(&self) -> Result<(), LedgerError> {
        let asked = Instant::now();
        let _turn = self.shared.refreshing.lock().await;
        let seen_at = *self.shared.seen_at.lock().unwrap_or_else(PoisonError::into_inner);
        if seen_at > asked {
            return Ok(());
        }
        self.read(|_, _| ()).await
    }

    /// Resolves when the committer has ended, asked or not.
    pub async fn ended(&self) {
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    fn send(&self, job: Job) -> Result<(), LedgerError> {
        self.outbox.try_send(job).map_err(|error| refused(&error))
    }

    /// Nobody will say any more how this pending call or fetch ended: it expires when writing works again.
    pub fn abandon(&self, pending: Seq) {
        self.shared.abandon(pending);
    }

    /// Changes when a call may pass that a limit refused, before its window says so: something was given back, or a
    /// cap may be higher. Whatever led to it is durable, and was decided after the receiver was made.
    pub fn room(&self) -> watch::Receiver<u64> {
        self.shared.room.subscribe()
    }

    /// Corps, apps, keys and credentials, as of the last durable entry that this process has seen.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&read(&self.shared.directory))
    }

    pub fn ledger_id(&self) -> Arc<str> {
        Arc::clone(&read(&self.shared.ledger_id))
    }

    /// The newest entry that this process has seen.
    pub fn head(&self) -> Seq {
        self.shared.head.load(Ordering::Acquire)
    }

    /// The present, in ledger time.
    pub fn tick(&self) -> i64 {
        let offset = self.shared.tick_offset.load(Ordering::Acquire);
        let floor = self.shared.tick_floor.load(Ordering::Acquire);
        (self.shared.clock.read().boottime_ms + offset).max(floor)
    }

    /// Why nothing can be written at the moment, if so.
    pub fn failure(&self) -> Option<String> {
        read(&self.shared.failure).clone()
    }

    /// Ends the committer and waits until it has written its last entries.
    pub async fn stop(&self) {
        let _ = self.outbox.send(Job::Stop).await;
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }
}
