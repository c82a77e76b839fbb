//! Learning WeCom's real cap where it is full long before we are, again and again.
//!
//! Which limit a 45009 means shows when calls are let in again: a block lasts as long as the window that was exceeded.
//! Of the limits with such a window it was most likely the one that we had counted fullest, and what WeCom had let
//! through by then is known: what we had counted without the calls that still had no outcome.

use std::cmp::Reverse;

use crate::ledger::alerts::About;
use crate::ledger::command::{Now, Reply};
use crate::ledger::entry::{Body, CapLearned, CapRestored, Counted, Draft, Drift, PenaltyLevel, Seq};
use crate::ledger::learned::about;
use crate::ledger::penalties::{Blocked, Penalty};
use crate::ledger::state::State;
use crate::quota::{Limit, Rule};

use super::penalty::{is_nearly_full, level_of, share};
use super::{Decision, draft};

/// Whether WeCom was full clearly before we were, now that it lets calls in again. Within a cap that was learned every
/// refusal is early: that cap is too high still.
pub(super) fn drift(state: &State, blocked: Blocked, penalty: &Penalty) -> Option<(About, Drift)> {
    if penalty.level == PenaltyLevel::Concurrent || penalty.first.told {
        return None;
    }
    let first = &penalty.first;
    let limit = |it: &Counted| state.meters.limits().find(|limit| *limit.name == *it.limit);
    let as_long = |limit: &Limit| limit.window.longest_ms().is_some() && level_of(limit) == penalty.level;
    let counted = first.counted.iter().filter(|it| limit(it).is_some_and(as_long));
    let Counted { limit, used, cap, in_flight, rule } =
        counted.min_by_key(|it| Reverse(share(it.used, it.cap)))?;
    if is_nearly_full(*used, *cap) && *rule != Rule::Learned {
        return None;
    }
    let accepted = used.saturating_sub(*in_flight);
    let drift = Drift { incident: first.seq, limit: limit.clone(), cap: *cap, accepted };
    Some((about(&state.meters, limit, first, blocked.api)?, drift))
}

/// The entry of a lower cap, if with this drift there have been enough of them: what WeCom let through at most.
pub(super) fn lowered(state: &State, about: &About, drift: &Drift, after: u8, now: Now) -> Option<Draft> {
    let before = state.learned.drifts(about, now.tick).cloned();
    let drifts: Vec<Drift> = before.chain([drift.clone()]).collect();
    if drifts.len() < usize::from(after) || !state.learned.has_room(about) {
        return None;
    }
    let account_cap = state.directory.corps.get(&about.corp).map_or(0, |corp| corp.account_cap);
    let before = state.meters.cap_of(&about.limit, &about.facets(), account_cap)?;
    let cap = drifts.iter().map(|drift| drift.accepted).max().unwrap_or(0).max(1);
    let learned = CapLearned { limit: about.limit.clone(), cap, before, drifts };
    (cap < before).then(|| draft(about.refs(), Body::CapLearned(learned)))
}

pub(super) fn restore(state: &State, learned: Seq) -> Decision {
    let Some((about, _)) = state.learned.by_entry(learned) else {
        return Decision::not_found(format!(
            "no learned cap with the number {learned} is in force; `limits list` shows all"
        ));
    };
    let done = Reply::Done { seq: state.head + 1, changed: true };
    Decision::one(about.refs(), Body::CapRestored(CapRestored { learned }), done)
}
