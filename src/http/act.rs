//! Administrative acts by REST. Whether the key may is decided by the ledger, with the act itself.

use crate::ledger::command::{Refusal, Unauthorized};
use crate::ledger::{Command, Rejected, Reply, Seq};

use super::params::invalid_body;
use super::problem::{self, Problem};
use super::{Client, HttpState};

/// What was done: the entry, and whether that changed anything.
pub(super) async fn act(state: &HttpState, client: &Client, act: Command) -> Result<(Seq, bool), Problem> {
    let by_key = Command::ByKey { api_key: client.api_key, act: Box::new(act) };
    match state.ledger.decide(by_key).await? {
        Reply::Done { seq, changed } => Ok((seq, changed)),
        Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended)) => Err(key_ended()),
        Reply::Refused(Refusal::Unauthorized(Unauthorized::NotAllowed)) => {
            let what = "this API key is limited to some apps, and this would change more than they";
            Err(Problem::new(&problem::NOT_ALLOWED, what))
        }
        Reply::Rejected(Rejected::NotFound(what)) => Err(Problem::new(&problem::NOT_FOUND, what)),
        Reply::Rejected(rejected) => Err(invalid_body(rejected.to_string())),
        _ => Err(Problem::internal(&"the ledger did not say whether something is done")),
    }
}

/// It was good when the request came.
pub(super) fn key_ended() -> Problem {
    Problem::unauthorized("this API key was revoked or paused just now")
}
