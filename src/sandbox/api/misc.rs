//! IP lists, and who a code of the browser's login belongs to.

use serde_json::{Value, json};

use super::Context;
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::call::Call;
use crate::sandbox::world::{Caller, World};

/// Addresses that are reserved for documentation: nobody's firewall should open for a sandbox.
pub(super) fn ip_list() -> Answer {
    Answer::ok(&json!({"ip_list": ["192.0.2.0/25", "198.51.100.7", "203.0.113.0/26"]}))
}

/// A code is `code-USERID`, or `code-USERID.` and anything, so that tests need not ask for one.
fn member_of_code<'a>(world: &'a World, call: &Call, corp: usize) -> Option<&'a str> {
    let code = call.param("code")?.strip_prefix("code-")?;
    let directory = &world.corps[corp].directory;
    let found = directory.find(code).or_else(|| directory.find(code.rsplit_once('.')?.0))?;
    Some(found.1.userid.as_str())
}

pub(in crate::sandbox) fn has_valid_code(world: &World, call: &Call, caller: Caller) -> bool {
    caller.corp().is_some_and(|corp| member_of_code(world, call, corp).is_some())
}

pub(super) fn user_of_code(world: &World, context: Context<'_>) -> Reply {
    let userid: Value = member_of_code(world, context.call, context.who.corp).ok_or(40029)?.into();
    Ok(Answer::ok(&json!({"userid": userid, "user_ticket": "", "expires_in": 1800})))
}
