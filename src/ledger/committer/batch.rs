//! One batch: lock, catch up, decide in order, append, then answer.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::ledger::apply::apply;
use crate::ledger::command::{Command, EndedHow, Now, Refusal, Reply};
use crate::ledger::decide::{self, Decision, decide};
use crate::ledger::entry::{Draft, Entry, Seq};
use crate::ledger::row::Row;
use crate::ledger::state::State;
use crate::store::{Batch, Log, StoreError};

use super::{Committer, DEATH_WATCH, Job, LedgerError, RETRY_AFTER, SNAPSHOT_EVERY};

type Answer = oneshot::Sender<Result<Reply, LedgerError>>;

impl<L: Log> Committer<L> {
    pub(super) async fn batch(&mut self, jobs: Vec<Job>) {
        if let Some((reason, since)) = &self.failure
            && since.elapsed() < RETRY_AFTER
        {
            let reason = reason.clone();
            return refuse(jobs, &reason);
        }
        let mut answers = Vec::with_capacity(jobs.len());
        let mut reads = Vec::new();
        let mut commands = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::Decide { command, answer } => {
                    commands.push(command);
                    answers.push(answer);
                }
                Job::Read(look) => reads.push(look),
                Job::Stop => {}
            }
        }
        match self.commit(commands).await {
            Ok((replies, now)) => {
                for (answer, reply) in answers.into_iter().zip(replies) {
                    self.answer(answer, reply);
                }
                if let Some(state) = &self.state {
                    reads.into_iter().for_each(|look| look(Ok((state, now))));
                }
            }
            Err(error) => {
                let reason = error.to_string();
                let jobs = answers.into_iter().map(|answer| (Some(answer), None));
                for (answer, read) in jobs.chain(reads.into_iter().map(|read| (None, Some(read)))) {
                    refuse_one(answer, read, &reason);
                }
            }
        }
    }

    /// A batch of at most one command, outside the queue.
    pub(super) async fn commit_one(&mut self, command: Option<Command>) -> Result<Option<Reply>, StoreError> {
        let (replies, _) = self.commit(command.into_iter().collect()).await?;
        Ok(replies.into_iter().next())
    }

    /// Decides the commands and makes what they led to durable. After an error nothing is known to be written.
    async fn commit(&mut self, commands: Vec<Command>) -> Result<(Vec<Reply>, Now), StoreError> {
        let result = match self.log.lock() {
            Ok(foreign) => {
                let result = self.commit_locked(foreign, commands).await;
                self.log.unlock();
                result
            }
            Err(error) => Err(error),
        };
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

    async fn commit_locked(
        &mut self,
        foreign: bool,
        commands: Vec<Command>,
    ) -> Result<(Vec<Reply>, Now), StoreError> {
        if self.state.is_none() {
            if self.failure.is_some() {
                self.log.reopen().await?;
            }
            self.load().await?;
            self.abandon_unanswered();
        } else if foreign {
            self.catch_up().await?;
        }
        let Some(mut state) = self.state.take() else {
            return Err(StoreError::Read("the ledger is not loaded".to_owned()));
        };
        let reading = self.clock.read();
        let now = decide::now(&state, &reading);
        let mut work = Work { state: &mut state, batch: Batch::default(), now, process: self.process };
        let refusals = self.maintain(&mut work, &reading)?;
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            replies.push(work.decide(&self.vault, command)?);
        }
        let batch = work.batch;
        if let Err(error) = self.log.append(&batch).await {
            self.refusals.put_back(refusals);
            return Err(error);
        }
        if let Some(row) = batch.rows.into_iter().next_back() {
            self.last_row = Some(row);
        }
        self.after_commit(state, &replies, now);
        Ok((replies, now))
    }

    /// What needs no command: the clocks, overdue calls, dead processes, counted refusals.
    fn maintain(
        &mut self,
        work: &mut Work<'_>,
        reading: &decide::ClockReading,
    ) -> Result<Vec<Command>, StoreError> {
        if work.state.head > 0
            && let Some(draft) = decide::decide_time(work.state, reading)
        {
            work.append(&self.vault, draft)?;
        }
        if let Some((reason, _)) = &self.failure {
            work.decide(&self.vault, Command::Recovered { reason: reason.clone() })?;
        }
        let abandoned = self.shared.take_abandoned();
        for draft in decide::decide_abandoned(work.state, &abandoned) {
            work.append(&self.vault, draft)?;
        }
        for &left in abandoned.iter().skip(decide::EXPIRE_BATCH) {
            self.shared.abandon(left);
        }
        for draft in decide::decide_overdue(work.state, work.now.tick) {
            work.append(&self.vault, draft)?;
        }
        let refusals = self.refusals.due(work.now.tick);
        for command in &refusals {
            work.decide(&self.vault, command.clone())?;
        }
        if self.death_watch.elapsed() >= DEATH_WATCH {
            self.death_watch = Instant::now();
            self.bury_the_dead(work)?;
        }
        Ok(refusals)
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

    fn after_commit(&mut self, state: State, replies: &[Reply], now: Now) {
        for reply in replies {
            match reply {
                Reply::Admitted { pending, .. } | Reply::Fetch { pending, .. } => {
                    self.answered_for.insert(*pending);
                }
                Reply::Refused(Refusal::Limit { reading, key, recorded: true, .. }) => {
                    self.refusals.count(key.clone(), reading, now.tick);
                }
                _ => {}
            }
        }
        if self.answered_for.len() > 2 * state.pendings.len() + 1024 {
            self.answered_for.retain(|pending| state.pendings.contains_key(pending));
        }
        self.shared.publish(&state);
        self.state = Some(state);
        // A large state is written less often, so that snapshots stay a small part of the work.
        let due =
            |state: &State| state.head >= self.snapshot_at + SNAPSHOT_EVERY + 4 * state.pendings.len() as u64;
        if self.state.as_ref().is_some_and(due) {
            self.snapshot_at = self.state.as_ref().map_or(0, |state| state.head);
            if let Some(bytes) = self.snapshot_bytes() {
                self.log.save_snapshot(bytes);
            }
        }
    }

    fn answer(&mut self, answer: Answer, reply: Reply) {
        let pending = match &reply {
            Reply::Admitted { pending, .. } | Reply::Fetch { pending, .. } => Some(*pending),
            _ => None,
        };
        if answer.send(Ok(reply)).is_err()
            && let Some(pending) = pending
        {
            // Who asked has gone, so nothing will be sent, but nobody could prove it: it expires as spent.
            self.shared.abandon(pending);
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

/// A batch while it is put together.
struct Work<'a> {
    state: &'a mut State,
    batch: Batch,
    now: Now,
    process: Option<Seq>,
}

impl Work<'_> {
    fn decide(&mut self, vault: &crate::vault::Vault, command: Command) -> Result<Reply, StoreError> {
        let Decision { drafts, erase, reply } = decide(self.state, command, self.now, self.process);
        for draft in drafts {
            self.append(vault, draft)?;
        }
        self.batch.erase.extend(erase);
        Ok(reply)
    }

    fn append(&mut self, vault: &crate::vault::Vault, draft: Draft) -> Result<(), StoreError> {
        let Draft { refs, body, secret } = draft;
        let seq = self.state.head + 1;
        let entry = Entry { seq, tick: self.now.tick, at: self.now.at, process: self.process, refs, body };
        apply(self.state, &entry);
        if let Some(secret) = secret {
            let sealed = vault
                .seal(&self.state.ledger_id, seq, &secret.0)
                .map_err(|error| StoreError::Write(error.to_string()))?;
            self.batch.sealed.push((seq, sealed));
        }
        self.batch.rows.push(Row::of(&entry));
        Ok(())
    }
}

fn refuse(jobs: Vec<Job>, reason: &str) {
    for job in jobs {
        match job {
            Job::Decide { answer, .. } => refuse_one(Some(answer), None, reason),
            Job::Read(look) => refuse_one(None, Some(look), reason),
            Job::Stop => {}
        }
    }
}

#[expect(clippy::type_complexity, reason = "the type of a job's closure, named in one other place")]
fn refuse_one(
    answer: Option<Answer>,
    read: Option<Box<dyn FnOnce(Result<(&State, Now), LedgerError>) + Send>>,
    reason: &str,
) {
    let error = LedgerError::Unavailable(reason.to_owned());
    if let Some(answer) = answer {
        let _ = answer.send(Err(error.clone()));
    }
    if let Some(read) = read {
        read(Err(error));
    }
}
