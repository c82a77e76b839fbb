//! Administrative acts of an API key. Whether it may is decided with the act, and its entries name it.

use crate::ledger::command::{Command, Now, Refusal, Reply, Unauthorized};
use crate::ledger::directory::ApiKey;
use crate::ledger::entry::{Body, Draft, Scope, Seq};
use crate::ledger::state::State;

use super::{Decision, decide};

pub(super) fn by_key(state: &State, api_key: Seq, act: Command, now: Now, process: Option<Seq>) -> Decision {
    if !is_for_keys(&act) {
        return Decision::invalid(format!("not an act of an API key: {act:?}"));
    }
    if let Err(unauthorized) = may_change_all(state, api_key) {
        return Decision::reply(Reply::Refused(Refusal::Unauthorized(unauthorized)));
    }
    let mut decision = decide(state, act, now, process);
    // What an alert or a name is about has nothing to do with who acts.
    let acts = |draft: &&mut Draft| !matches!(draft.body, Body::AlertRaised(_) | Body::ApiNamed(_));
    for draft in decision.drafts.iter_mut().filter(acts) {
        draft.refs.api_key = Some(api_key);
    }
    decision
}

/// What is left has a column for another API key than the one that acts, or is checked on its own.
fn is_for_keys(act: &Command) -> bool {
    matches!(
        act,
        Command::PutLimits { .. }
            | Command::PutReserve { .. }
            | Command::PutCap { .. }
            | Command::PutAlertAt { .. }
            | Command::RestoreCap { .. }
            | Command::Declare { .. }
            | Command::ClearPenalty { .. }
    )
}

/// What concerns every app is no business of a key that is limited to some.
fn may_change_all(state: &State, api_key: Seq) -> Result<(), Unauthorized> {
    let key = state.directory.api_keys.get(&api_key).filter(|key| ApiKey::is_active(key));
    let key = key.ok_or(Unauthorized::Ended)?;
    if key.has(Scope::Admin) && key.apps.is_empty() { Ok(()) } else { Err(Unauthorized::NotAllowed) }
}
