//! Check-ins and approvals. Nobody in the sandbox checks in or asks for anything.
//!
//! What is asked for is checked where it is given, but it may be left out: tests that need an API which counts, and does
//! nothing else, call these.

use serde_json::{Value, json};

use super::{Context, number};
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::world::World;

const MAX_USERS: usize = 100;
const MAX_INTERVAL_SECS: u32 = 30 * 86_400;

/// checkin/getcheckindata
pub(super) fn checkins(world: &World, context: Context<'_>) -> Reply {
    let body = context.body()?;
    if interval(body).is_some_and(|(start, end)| start >= end || end - start > MAX_INTERVAL_SECS) {
        return Err(301_024);
    }
    if let Some(users) = body.get("useridlist") {
        let users = users.as_array().filter(|ids| (1..=MAX_USERS).contains(&ids.len())).ok_or(301_023)?;
        let directory = &world.corps[context.who.corp].directory;
        if users.iter().any(|id| id.as_str().and_then(|id| directory.find(id)).is_none()) {
            return Err(301_021);
        }
    }
    Ok(Answer::ok(&json!({"checkindata": []})))
}

/// corp/getapprovaldata
pub(super) fn approvals(context: Context<'_>) -> Reply {
    if interval(context.body()?).is_some_and(|(start, end)| start >= end) {
        return Err(301_025);
    }
    Ok(Answer::ok(&json!({"count": 0, "total": 0, "next_spnum": 0, "data": []})))
}

fn interval(body: &Value) -> Option<(u32, u32)> {
    let time = |name: &str| body.get(name).and_then(number);
    Some((time("starttime")?, time("endtime")?))
}
