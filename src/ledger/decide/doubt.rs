//! What a call may have made larger without saying by how much: what was learned of it is forgotten.
//!
//! An old size that is too small would let messages reach more people than they reserve. So the outcome of such a call
//! and what it means for sizes are written in one commit.

use crate::ledger::command::Outcome;
use crate::ledger::entry::{Body, Draft, Refs, Seq, Size, SizeLearned};
use crate::ledger::state::{Pending, State};
use crate::wecom::cost::{Enlarges, enlarges};
use crate::wecom::errcodes::BUSY;

use super::declare::within_bounds;

/// What is not certain any more once this call may have done its work.
pub(super) fn of(state: &State, pending: &Pending) -> Option<Size> {
    let api = state.directory.apis.get(&pending.api)?;
    Some(match enlarges(api)? {
        Enlarges::Departments => Size::DepartmentsChanged,
        Enlarges::Tags => Size::TagsChanged,
        Enlarges::Chats => Size::ChatsChanged,
        Enlarges::Scopes => Size::ScopesChanged,
    })
}

/// What the end of a call means for sizes. `taught`: as its answer says, if it was understood.
pub(super) fn after(
    state: &State,
    seq: Seq,
    pending: &Pending,
    outcome: &Outcome,
    taught: Option<Vec<Size>>,
    tick: i64,
) -> Vec<Draft> {
    let Some(doubt) = of(state, pending) else { return Vec::new() };
    let sizes = match outcome {
        Outcome::Posted { errcode: Some(0), .. } => taught.unwrap_or_else(|| vec![doubt]),
        Outcome::Posted { errcode: None | Some(BUSY), .. } | Outcome::Expired { .. } => vec![doubt],
        // WeCom refused it, or it never got there.
        Outcome::Posted { .. } | Outcome::Voided { .. } => return Vec::new(),
    };
    sizes.into_iter().filter_map(|size| draft(state, seq, pending, size, tick)).collect()
}

/// Unless nothing is known that could be wrong.
pub(super) fn draft(state: &State, seq: Seq, pending: &Pending, size: Size, tick: i64) -> Option<Draft> {
    let size = within_bounds(state, size).or_else(|| of(state, pending))?;
    if state.sizes.knows(pending.corp, pending.app, &size, tick) {
        return None;
    }
    let refs = Refs { corp: Some(pending.corp), app: Some(pending.app), ..Refs::default() };
    Some(super::draft(refs, Body::SizeLearned(SizeLearned { size, call_seq: Some(seq) })))
}
