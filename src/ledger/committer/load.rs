//! Loading: the newest snapshot, then the entries after it.

use sha2::{Digest as _, Sha256};

use crate::ledger::apply::apply;
use crate::ledger::canonical;
use crate::ledger::room::gives_room;
use crate::ledger::row::Row;
use crate::ledger::state::{FOLD_VERSION, State};
use crate::store::{Log, StoreError};

use super::Committer;

/// Rows that are replayed in one step.
const REPLAY_CHUNK: u32 = 4096;

/// A snapshot is only used if the entry that it ends with is still the same.
fn digest(row: &Row, state: &State) -> [u8; 32] {
    Sha256::digest(canonical::line(row, &*state.directory)).into()
}

/// The snapshot of a state whose last entry is `last`.
pub fn encode_snapshot(state: &State, last: &Row) -> Option<Vec<u8>> {
    postcard::to_stdvec(&(FOLD_VERSION, digest(last, state), state)).ok()
}

/// The state in a snapshot of this version of the fold.
pub fn decode_snapshot(bytes: &[u8]) -> Option<([u8; 32], State)> {
    let (version, _) = postcard::take_from_bytes::<u32>(bytes).ok()?;
    if version != FOLD_VERSION {
        return None;
    }
    match postcard::from_bytes::<(u32, [u8; 32], State)>(bytes) {
        Ok((_, digest, state)) => Some((digest, state)),
        Err(error) => {
            tracing::warn!(%error, "the snapshot can't be read; folding all entries");
            None
        }
    }
}

impl<L: Log> Committer<L> {
    /// Folds what the store holds. The write lock is held.
    pub(super) async fn load(&mut self) -> Result<(), StoreError> {
        let mut state = State::default();
        self.last_row = None;
        if let Some((expected, snapshot)) = self.log.load_snapshot().as_deref().and_then(decode_snapshot)
            && snapshot.head > 0
        {
            let rows = self.log.rows_after(snapshot.head - 1, 1).await?;
            match rows.into_iter().next() {
                Some(row) if row.seq == snapshot.head && digest(&row, &snapshot) == expected => {
                    self.last_row = Some(row);
                    state = snapshot;
                }
                _ => tracing::warn!("the snapshot does not belong to this ledger; folding all entries"),
            }
        }
        self.snapshot_at = state.head;
        self.state = Some(state);
        self.catch_up().await
    }

    /// Applies entries that others appended.
    pub(super) async fn catch_up(&mut self) -> Result<(), StoreError> {
        let Some(mut state) = self.state.take() else { return Ok(()) };
        let watched = self.shared.room_is_watched();
        loop {
            let rows = self.log.rows_after(state.head, REPLAY_CHUNK).await?;
            let last = rows.len() < REPLAY_CHUNK as usize;
            for row in rows {
                if row.seq != state.head + 1 {
                    return Err(StoreError::Read(format!(
                        "entry {} is missing: the ledger was damaged; restore it from a backup",
                        state.head + 1
                    )));
                }
                let entry = row.entry()?;
                self.room |= watched && gives_room(&state, &entry.body);
                apply(&mut state, &entry);
                self.last_row = Some(row);
            }
            if last {
                break;
            }
        }
        self.state = Some(state);
        Ok(())
    }

    pub(super) fn snapshot_bytes(&self) -> Option<Vec<u8>> {
        encode_snapshot(self.state.as_ref()?, self.last_row.as_ref()?)
    }
}
