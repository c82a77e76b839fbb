//! Entries about what reached people: messages that were answered, or never will be, and WeCom's own count of them.

use crate::ledger::alerts::Share;
use crate::ledger::delivered::{COUNTED_API, Delivery, Span};
use crate::ledger::entry::{Body, CallPosted, Entry, Seq, UsageReconciled};
use crate::ledger::state::{Pending, PendingWhat, State};

use super::api_name;

/// WeCom is busy: whether the message went out is not known.
const BUSY: i64 = -1;

/// Counts an answered message; to be called while it is still pending.
pub(super) fn posted(state: &mut State, entry: &Entry, x: &CallPosted) {
    let Some(pending) = messages(state, x.pending) else { return };
    let reserved = pending.cost.person_times;
    let people = reserved.saturating_sub(x.unreached);
    let named = pending.target.as_ref().and_then(|target| target.people.as_ref());
    let named = named.map_or(0, |people| people.users.saturating_sub(x.unreached)).min(people);
    let delivery = match x.errcode {
        Some(0) if api_name(&state.directory, pending.api) == COUNTED_API => {
            Delivery::Certain { people, named }
        }
        Some(0) => Delivery::Possible { people },
        None | Some(BUSY) => Delivery::Possible { people: reserved },
        Some(_) => return,
    };
    add(state, entry, x.pending, delivery);
}

/// Counts a message whose outcome nobody knows; to be called while it is still pending.
pub(super) fn expired(state: &mut State, entry: &Entry, seq: Seq) {
    let Some(pending) = messages(state, seq) else { return };
    let people = pending.cost.person_times;
    add(state, entry, seq, Delivery::Possible { people });
}

fn messages(state: &State, seq: Seq) -> Option<&Pending> {
    let of_calls = |pending: &&Pending| pending.what != PendingWhat::Fetch && pending.cost.person_times > 0;
    state.pendings.get(&seq).map(|pending| &**pending).filter(of_calls)
}

fn add(state: &mut State, entry: &Entry, seq: Seq, delivery: Delivery) {
    let Some((app, tick)) = state.pendings.get(&seq).map(|pending| (pending.app, pending.tick)) else {
        return;
    };
    let from = entry.at.saturating_sub(entry.tick.saturating_sub(tick));
    let span = Span { from, to: entry.at, zone_minutes: state.meters.zone_minutes() };
    state.delivered.add(app, delivery, span);
}

/// An app's messages are counted from when it is added until it is removed; to be called before the directory knows.
pub(super) fn follow(state: &mut State, entry: &Entry, body: &Body) {
    let Some(app) = entry.refs.app else { return };
    match body {
        Body::AppPut(_) if state.directory.live_app(app).is_none() => state.delivered.begin(app, entry.at),
        Body::AppRemoved => state.delivered.end(app),
        _ => {}
    }
}

pub(super) fn reconciled(state: &mut State, entry: &Entry, x: &UsageReconciled) {
    if let Some(app) = entry.refs.app {
        state.delivered.reconciled(app, entry.seq, x);
    }
    if x.is_alarming() {
        state.alerts.queue_up(entry.seq, Share::Common, entry.tick);
    }
}
