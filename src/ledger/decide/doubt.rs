//! What a call may have made larger without saying by how much: what was learned of it is forgotten, and what was
//! declared as well unless it is known how much the call can add at most.
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
pub(super) fn of(state: &State, pending: &Pending) -> Vec<Size> {
    let api = state.directory.apis.get(&pending.api);
    match api.and_then(|api| enlarges(api)) {
        None => Vec::new(),
        // In whatever departments the new member is, a number that was declared has one more.
        Some(Enlarges::Member) => vec![Size::DepartmentsChanged, Size::Joined { departments: 1 }],
        Some(Enlarges::Moves) => vec![Size::DepartmentsChanged],
        Some(Enlarges::Departments) => vec![Size::DepartmentsGrown],
        Some(Enlarges::Tags) => vec![Size::TagsChanged],
        Some(Enlarges::Chats) => vec![Size::ChatsChanged],
        Some(Enlarges::Scopes) => vec![Size::ScopesChanged],
    }
}

/// Whether it is enough to say so once of several calls: what is forgotten is forgotten.
pub(super) fn forgets(size: &Size) -> bool {
    !matches!(size, Size::Joined { .. })
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
    let doubts = of(state, pending);
    if doubts.is_empty() {
        return Vec::new();
    }
    let sizes = match outcome {
        Outcome::Posted { errcode: Some(0), .. } => taught.unwrap_or(doubts),
        Outcome::Posted { errcode: None | Some(BUSY), .. } | Outcome::Expired { .. } => doubts,
        // WeCom refused it, or it never got there.
        Outcome::Posted { .. } | Outcome::Voided { .. } => return Vec::new(),
    };
    sizes.into_iter().flat_map(|size| drafts(state, seq, pending, size, tick)).collect()
}

/// Unless nothing is known that could be wrong.
pub(super) fn drafts(state: &State, seq: Seq, pending: &Pending, size: Size, tick: i64) -> Vec<Draft> {
    let sizes = within_bounds(state, size).map_or_else(|| of(state, pending), |size| vec![size]);
    let refs = Refs { corp: Some(pending.corp), app: Some(pending.app), ..Refs::default() };
    let unknown = |size: &Size| !state.sizes.knows(pending.corp, pending.app, size, tick);
    let entry = |size| super::draft(refs, Body::SizeLearned(SizeLearned { size, call_seq: Some(seq) }));
    sizes.into_iter().filter(unknown).map(entry).collect()
}
