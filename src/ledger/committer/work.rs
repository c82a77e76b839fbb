//! What one batch is going to write.

use crate::ledger::apply::apply;
use crate::ledger::command::{Command, Now, Reply};
use crate::ledger::decide::{Decision, Repeat, decide};
use crate::ledger::entry::{Draft, Entry, Seq};
use crate::ledger::room::gives_room;
use crate::ledger::row::Row;
use crate::ledger::state::State;
use crate::store::{Batch, StoreError};
use crate::vault::Vault;

/// A batch while it is put together.
pub(super) struct Work<'a> {
    pub(super) state: &'a mut State,
    pub(super) batch: Batch,
    pub(super) repeats: Vec<Repeat>,
    pub(super) now: Now,
    pub(super) process: Option<Seq>,
    pub(super) actor: Option<&'a str>,
    /// Somebody wants to know of room in limits.
    pub(super) watched: bool,
    /// Something in it may let a call pass that was refused.
    pub(super) room: bool,
}

impl Work<'_> {
    pub(super) fn decide(&mut self, vault: &Vault, command: Command) -> Result<Reply, StoreError> {
        if let Command::Together(commands) = command {
            let each = commands.into_iter().map(|command| self.decide(vault, command));
            return Ok(Reply::Together(each.collect::<Result<_, _>>()?));
        }
        let Decision { drafts, erase, repeat, reply } = decide(self.state, command, self.now, self.process);
        for draft in drafts {
            self.append(vault, draft)?;
        }
        self.batch.erase.extend(erase);
        self.repeats.extend(repeat);
        Ok(reply)
    }

    pub(super) fn append(&mut self, vault: &Vault, draft: Draft) -> Result<(), StoreError> {
        let Draft { refs, body, secret } = draft;
        let seq = self.state.head + 1;
        let actor = self.actor.filter(|_| body.kind().is_administrative()).map(str::to_owned);
        let Now { tick, at } = self.now;
        let entry = Entry { seq, tick, at, process: self.process, actor, refs, body };
        self.room |= self.watched && gives_room(self.state, &entry.body);
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
