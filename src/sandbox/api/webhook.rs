//! webhook/send: a robot in a group, known by its key alone.

use serde_json::Value;

use super::text;
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::call::Call;
use crate::sandbox::tokens::fingerprint;
use crate::sandbox::world::Caller;

const MSGTYPES: [&str; 8] =
    ["text", "markdown", "markdown_v2", "image", "news", "file", "voice", "template_card"];

/// Every key belongs to a robot, so that tests need not make one.
pub(super) fn identify(call: &Call) -> Caller {
    call.filled("key").map_or(Caller::Nobody(93000), |key| Caller::Robot(fingerprint(key)))
}

pub(super) fn send(call: &Call) -> Reply {
    let body = call.json.as_ref().filter(|body| body.is_object() && call.is_post()).ok_or(40058)?;
    let msgtype = text(body, "msgtype");
    if !MSGTYPES.contains(&msgtype) {
        return Err(40008);
    }
    let part = body.get(msgtype).filter(|part| part.is_object()).ok_or(40063)?;
    if matches!(msgtype, "text" | "markdown" | "markdown_v2") && text(part, "content").is_empty() {
        return Err(44004);
    }
    Ok(Answer::ok(&Value::Null))
}
