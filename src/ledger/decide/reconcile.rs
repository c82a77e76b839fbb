//! WeCom's own count of a day, put next to ours.

use crate::ledger::command::{Now, Reconcile, Rejected, Reply};
use crate::ledger::delivered::{self, Which};
use crate::ledger::entry::{Body, Failed, Reconciled, Refs, UsageReconciled};
use crate::ledger::state::State;

use super::Decision;

/// The pause after a failure doubles from the first to the second.
const PAUSES_MS: (i64, i64) = (60_000, 3_600_000);

pub(super) fn reconcile(state: &State, command: &Reconcile, now: Now) -> Decision {
    let Reconcile { app, which, day, wecom, by, requested } = command;
    let Some(corp) = state.directory.live_app(*app).map(|app| app.corp) else {
        return Decision::not_found("the app is unknown or was removed");
    };
    if delivered::day_of(state, *which, now.at) != Some(*day) {
        let what =
            "the day has ended meanwhile, or is about to: WeCom's count may be of another one; ask again";
        return Decision::rejected(Rejected::Conflict(what.to_owned()));
    }
    let before = state.delivered.compared(*app, *day).filter(|_| *which == Which::Yesterday);
    if let Some(seq) = before.filter(|_| !requested) {
        return Decision::reply(Reply::Done { seq, changed: false });
    }
    let outcome = match wecom {
        Ok(wecom) => Reconciled::Compared(delivered::compare(state, *app, *day, *wecom, *which, now)),
        Err(failed) => {
            let tries = state.delivered.tries(*app, *day).saturating_add(1);
            let pause = (PAUSES_MS.0 << (tries - 1).min(6)).min(PAUSES_MS.1);
            Reconciled::Failed(Failed { failed: failed.clone(), tries, again_tick: now.tick + pause })
        }
    };
    let refs = Refs { corp: Some(corp), app: Some(*app), api_key: *by, ..Refs::default() };
    let reconciled = UsageReconciled { day: *day, outcome };
    let reply = Reply::Reconciled { seq: state.head + 1, reconciled: Box::new(reconciled.clone()) };
    Decision::one(refs, Body::UsageReconciled(reconciled), reply)
}
