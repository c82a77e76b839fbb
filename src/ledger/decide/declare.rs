//! What the ledger is told: sizes, usage that no call shows, the end of a block.

use crate::ledger::command::{Now, Reply};
use crate::ledger::entry::{Blocks, Body, PenaltyEnded, Refs, Seq, Size, SizeLearned, UsageDeclared};
use crate::ledger::state::State;
use crate::quota::Unit;

use super::Decision;

const NOTE_MAX: usize = 200;
const AMOUNT_MAX: i64 = 1_000_000_000;
/// Departments of a tree, or hashes of a chat's members, that one entry holds.
const LIST_MAX: usize = 10_000;

pub(super) fn learn(
    state: &State,
    corp: Seq,
    app: Option<Seq>,
    size: Size,
    call: Option<Seq>,
    now: Now,
) -> Decision {
    let unchanged = Decision::reply(Reply::Done { seq: 0, changed: false });
    let long = match &size {
        Size::Tree { departments } => departments.len(),
        Size::Tag { parties, .. } => parties.len(),
        Size::Chat { hashes, .. } => hashes.len(),
        _ => 0,
    };
    if state.directory.corps.get(&corp).is_none_or(|corp| corp.removed) || long > LIST_MAX {
        return unchanged;
    }
    if call.is_some() && state.sizes.knows(corp, app.unwrap_or(0), &size, now.tick) {
        return unchanged;
    }
    let refs = Refs { corp: Some(corp), app, ..Refs::default() };
    let learned = SizeLearned { size, call_seq: call };
    let body = if call.is_some() { Body::SizeLearned(learned) } else { Body::SizeDeclared(learned) };
    Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
}

pub(super) fn usage(
    state: &State,
    corp_id: &str,
    agent_id: Option<&str>,
    unit: Unit,
    amount: i64,
    note: String,
) -> Decision {
    let Some((corp, _)) = state.directory.corp(corp_id) else {
        return Decision::not_found(format!("corp `{corp_id}` is unknown; `corp list` shows all"));
    };
    let app = match agent_id.map(|agent_id| state.directory.app(corp_id, agent_id)) {
        Some(None) => {
            let label = format!("{corp_id}/{}", agent_id.unwrap_or_default());
            return Decision::not_found(format!("app `{label}` is unknown; `app list` shows all"));
        }
        Some(Some((app, _))) => Some(app),
        None => None,
    };
    if amount == 0 || !(-AMOUNT_MAX..=AMOUNT_MAX).contains(&amount) {
        return Decision::invalid(format!(
            "the amount must be 1 to {AMOUNT_MAX}, or below zero to take back"
        ));
    }
    if note.chars().count() > NOTE_MAX || note.chars().any(char::is_control) {
        return Decision::invalid(format!("a note has at most {NOTE_MAX} printable characters"));
    }
    let of_unit = || state.meters.limits().filter(|limit| limit.unit == unit);
    if of_unit().next().is_none() {
        let profile = state.meters.profile();
        return Decision::invalid(format!("no limit of profile {profile} counts this unit"));
    }
    if amount < 0 {
        return Decision::invalid(
            "what was spent stays spent until its window has passed; only a total goes down",
        );
    }
    let refs = Refs { corp: Some(corp), app, ..Refs::default() };
    let body = Body::UsageDeclared(UsageDeclared { unit, amount, note });
    Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
}

pub(super) fn clear_penalty(state: &State, started: Seq) -> Decision {
    let Some((blocked, _)) = state.penalties.by_entry(started) else {
        return Decision::not_found(format!("there is no penalty {started}; `penalty list` shows all"));
    };
    let (corp, app) = match blocked.blocks {
        Blocks::Corp => (Some(blocked.whose), None),
        Blocks::App => (state.directory.apps.get(&blocked.whose).map(|app| app.corp), Some(blocked.whose)),
        Blocks::EgressIp => (None, None),
    };
    let refs = Refs { corp, app, api: Some(blocked.api), api_key: None };
    let body = Body::PenaltyCleared(PenaltyEnded { started, reason: "cleared".to_owned() });
    Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
}
