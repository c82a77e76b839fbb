//! One batch: lock, catch up, decide in order, append, then answer.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::ledger::command::{Command, EndedHow, Now, Reply};
use crate::ledger::decide::{self, Repeat};
use crate::ledger::entry::Seq;
use crate::ledger::state::State;
use crate::store::{Batch, Log, StoreError};

use super::work::Work;
use super::{
    Committer, DEATH_WATCH, Job, LedgerError, Look, RETRY_AFTER, SNAPSHOT_BYTES_PER_ENTRY, SNAPSHOT_EVERY,
};

pub(super) type Answer = oneshot::Sender<Result<Reply, LedgerError>>;

impl<L: Log> Committer<L> {
    /// Leaves `jobs` empty, for the next ones.
    pub(super) async fn batch(&mut self, jobs: &mut Vec<Job>) {
        if let Some((reason, since)) = &self.failure
            && since.elapsed() < RETRY_AFTER
        {
            let reason = reason.clone();
            return refuse(jobs.drain(..), &reason);
        }
        let (mut answers, mut commands) = std::mem::take(&mut self.spare);
        let mut reads = Vec::new();
        let mut places = Vec::new();
        for job in jobs.drain(..) {
            match job {
                Job::Decide { command, answer, place } => {
                    places.extend(place);
                    commands.push(command);
                    answers.push(answer);
                }
                Job::Read(look) => reads.push(look),
                Job::Stop => {}
            }
        }
        let committed = self.commit(&mut commands).await;
        commands.clear();
        drop(places);
        match committed {
            Ok((replies, now)) => {
                for (answer, reply) in answers.drain(..).zip(replies) {
                    self.answer(answer, reply);
                }
                if let Some(state) = &self.state {
                    for look in reads {
                        look(Ok((state, now)));
                    }
                }
            }
            Err(error) => {
                let reason = error.to_string();
                let jobs = answers.drain(..).map(|answer| (Some(answer), None));
                for (answer, read) in jobs.chain(reads.into_iter().map(|read| (None, Some(read)))) {
                    refuse_one(answer, read, &reason);
                }
            }
        }
        self.spare = (answers, commands);
    }

    /// A batch of at most one command, outside the queue.
    pub(super) async fn commit_one(&mut self, command: Option<Command>) -> Result<Option<Reply>, StoreError> {
        let (replies, _) = self.commit(&mut command.into_iter().collect()).await?;
        Ok(replies.into_iter().next())
    }

    /// Decides the commands and makes what they led to durable. After an error nothing is known to be written.
    async fn commit(&mut self, commands: &mut Vec<Command>) -> Result<(Vec<Reply>, Now), StoreError> {
        let result = self.commit_in_turn(commands).await;
        match &result {
            Ok(_) => {
                if self.failure.take().is_some() {
                    tracing::info!("the ledger can be written again");
                }
                self.shared.set_failure(None);
            }
            Err(error) => {
                let reason = error.to_string();
                if self.failure.as_ref().is_none_or(|(before, _)| *before != reason) {
                    tracing::error!(%error, "the ledger can't be written; nothing is sent until it can");
                }
                self.shared.set_failure(Some(reason.clone()));
                self.failure = Some((reason, Instant::now()));
                self.state = None;
            }
        }
        result
    }

    /// Whatever can take long is done before the write lock is taken: others go on writing meanwhile.
    async fn commit_in_turn(&mut self, commands: &mut Vec<Command>) -> Result<(Vec<Reply>, Now), StoreError> {
        let fresh = self.state.is_none();
        if fresh {
            if self.failure.is_some() {
                self.log.reopen().await?;
            }
            self.load().await?;
        }
        let foreign = self.log.lock()?;
        let result = self.commit_locked(foreign || fresh, fresh, commands).await;
        self.log.unlock();
        result
    }

    async fn commit_locked(
        &mut self,
        behind: bool,
        fresh: bool,
        commands: &mut Vec<Command>,
    ) -> Result<(Vec<Reply>, Now), StoreError> {
        let seen_at = Instant::now();
        if behind {
            self.catch_up().await?;
        }
        if fresh {
            self.abandon_unanswered();
        }
        let Some(mut state) = self.state.take() else {
            return Err(StoreError::Read("the ledger is not loaded".to_owned()));
        };
        let reading = self.clock.read();
        let now = decide::now(&state, &reading);
        let taken = Taken { abandoned: self.shared.take_abandoned(), refusals: self.refusals.due(now.tick) };
        let batch = Batch { rows: std::mem::take(&mut self.spare_rows), ..Batch::default() };
        let (process, actor) = (self.process, self.actor.clone());
        let (repeats, actor) = (Vec::new(), actor.as_deref());
        let watched = self.shared.room_is_watched();
        let work = Work { state: &mut state, batch, repeats, now, process, actor, watched, room: false };
        match self.write(work, &reading, &taken, commands).await {
            Ok((replies, repeats)) => {
                let rest = taken.abandoned.into_iter().skip(decide::EXPIRE_BATCH);
                rest.for_each(|pending| self.shared.abandon(pending));
                for repeat in repeats {
                    self.refusals.count(repeat, now.tick);
                }
                self.after_commit(state, &replies, seen_at);
                Ok((replies, now))
            }
            Err(error) => {
                taken.abandoned.into_iter().for_each(|pending| self.shared.abandon(pending));
                self.refusals.put_back(taken.refusals);
                Err(error)
            }
        }
    }

    /// Decides everything and appends it.
    async fn write(
        &mut self,
        mut work: Work<'_>,
        reading: &decide::ClockReading,
        taken: &Taken,
        commands: &mut Vec<Command>,
    ) -> Result<(Vec<Reply>, Vec<Repeat>), StoreError> {
        self.maintain(&mut work, reading, taken)?;
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands.drain(..) {
            replies.push(work.decide(&self.vault, command)?);
        }
        let Work { batch, repeats, room, .. } = work;
        self.log.append(&batch).await?;
        self.room |= room;
        let mut rows = batch.rows;
        if let Some(row) = rows.pop() {
            self.last_row = Some(row);
        }
        rows.clear();
        self.spare_rows = rows;
        Ok((replies, repeats))
    }

    /// What needs no command: the clocks, overdue calls, dead processes, counted refusals.
    fn maintain(
        &mut self,
        work: &mut Work<'_>,
        reading: &decide::ClockReading,
        taken: &Taken,
    ) -> Result<(), StoreError> {
        // Nothing may come before the entry that creates the ledger.
        if work.state.head == 0 {
            return Ok(());
        }
        for draft in decide::decide_time(work.state, reading) {
            work.append(&self.vault, draft)?;
        }
        if let Some((reason, _)) = &self.failure {
            work.decide(&self.vault, Command::Recovered { reason: reason.clone() })?;
        }
        for draft in decide::decide_abandoned(work.state, &taken.abandoned, work.now.tick) {
            work.append(&self.vault, draft)?;
        }
        for draft in decide::decide_overdue(work.state, work.now.tick) {
            work.append(&self.vault, draft)?;
        }
        for command in &taken.refusals {
            work.decide(&self.vault, command.clone())?;
        }
        if self.death_watch.elapsed() >= DEATH_WATCH {
            self.death_watch = Instant::now();
            self.bury_the_dead(work)?;
        }
        Ok(())
    }

    fn bury_the_dead(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let others: Vec<(Seq, String)> = work
            .state
            .processes
            .iter()
            .filter(|(seq, _)| Some(**seq) != self.process)
            .map(|(&seq, process)| (seq, process.instance.clone()))
            .collect();
        for (process, instance) in others {
            if self.log.is_dead(&instance) {
                work.decide(&self.vault, Command::EndProcess { process, how: EndedHow::Died })?;
            }
        }
        Ok(())
    }

    fn after_commit(&mut self, state: State, replies: &[Reply], seen_at: Instant) {
        for reply in replies {
            each_pending(reply, &mut |pending| {
                self.answered_for.insert(pending);
            });
        }
        if self.answered_for.len() > 2 * state.pendings.len() + 1024 {
            self.answered_for.retain(|pending| state.pendings.contains_key(pending));
        }
        self.shared.publish(&state, seen_at);
        if std::mem::take(&mut self.room) {
            self.shared.give_room();
        }
        self.state = Some(state);
    }

    /// Writes a snapshot now and then. A large state is written less often, so that this stays a small part of the work.
    pub(super) fn snapshot_if_due(&mut self) {
        let Some(state) = &self.state else { return };
        let every = SNAPSHOT_EVERY.max(self.snapshot_bytes_last / SNAPSHOT_BYTES_PER_ENTRY);
        if state.head < self.snapshot_at + every {
            return;
        }
        self.snapshot_at = state.head;
        if let Some(bytes) = self.snapshot_bytes() {
            self.snapshot_bytes_last = bytes.len() as u64;
            self.log.save_snapshot(bytes);
        }
    }

    fn answer(&mut self, answer: Answer, reply: Reply) {
        if let Err(Ok(reply)) = answer.send(Ok(reply)) {
            // Who asked has gone, so nothing will be sent, but nobody could prove it: it expires as spent.
            each_pending(&reply, &mut |pending| self.shared.abandon(pending));
        }
    }

    /// After a reload: pendings of ours that were never acknowledged to anybody.
    fn abandon_unanswered(&mut self) {
        let (Some(state), Some(process)) = (&self.state, self.process) else { return };
        let unanswered = state
            .pendings
            .iter()
            .filter(|(seq, pending)| pending.process == Some(process) && !self.answered_for.contains(seq));
        unanswered.for_each(|(&seq, _)| self.shared.abandon(seq));
    }
}

/// The pending entries that whoever gets this reply has to settle.
pub(super) fn each_pending(reply: &Reply, see: &mut impl FnMut(Seq)) {
    match reply {
        Reply::Admitted { pending, .. } | Reply::Fetch { pending, .. } => see(*pending),
        Reply::Together(replies) => replies.iter().for_each(|reply| each_pending(reply, see)),
        _ => {}
    }
}

/// What is to be written without a command; after an error it is still to be written.
struct Taken {
    abandoned: BTreeSet<Seq>,
    refusals: Vec<Command>,
}

fn refuse(jobs: impl Iterator<Item = Job>, reason: &str) {
    for job in jobs {
        match job {
            Job::Decide { answer, .. } => refuse_one(Some(answer), None, reason),
            Job::Read(look) => refuse_one(None, Some(look), reason),
            Job::Stop => {}
        }
    }
}

fn refuse_one(answer: Option<Answer>, read: Option<Look>, reason: &str) {
    let error = LedgerError::Unavailable(reason.to_owned());
    if let Some(answer) = answer {
        let _ = answer.send(Err(error.clone()));
    }
    if let Some(read) = read {
        read(Err(error));
    }
}
