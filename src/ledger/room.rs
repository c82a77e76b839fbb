//! Which entries can make room in a limit before its windows do, so that whoever waits for room asks again.

use crate::quota::Window;

use super::entry::{Body, Seq};
use super::state::State;

/// Whether an entry, about to be applied to `state`, may let a call pass that was refused. It may say yes in vain; a
/// no that is wrong lets calls wait longer than they have to, until the time at which they were told to try again.
pub fn gives_room(state: &State, body: &Body) -> bool {
    match body {
        // What was taken is given back; WeCom blocks no longer; a cap may be higher, or a cost lower.
        Body::CallVoided(_)
        | Body::PenaltyEnded(_)
        | Body::PenaltyCleared(_)
        | Body::CapRestored(_)
        | Body::LimitsPut(_)
        | Body::CorpPut(_)
        | Body::ApiKeySet(_)
        | Body::SizeDeclared(_) => true,
        Body::UsageDeclared(x) => x.amount < 0,
        Body::CallPosted(x) => {
            state.pendings.get(&x.pending).is_some_and(|pending| pending.cost != x.cost)
                || leaves(state, x.pending, x.errcode == Some(0))
        }
        Body::CallExpired(x) => leaves(state, x.pending, false),
        _ => false,
    }
}

/// Whether a call leaves a limit as soon as it has ended, whatever it cost. `ok`: WeCom said that it was good.
fn leaves(state: &State, pending: Seq, ok: bool) -> bool {
    let api = state.pendings.get(&pending).and_then(|pending| state.directory.apis.get(&pending.api));
    api.is_some_and(|api| {
        let mut limits = state.meters.limits().filter(|limit| limit.matches(api));
        limits.any(|limit| limit.window == Window::Concurrent || (ok && limit.free_if_ok.matches(api)))
    })
}
