//! message/send and its kin.

use serde_json::{Value, json};

use super::{Context, number, recipients, text};
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::limits::Row;
use crate::sandbox::messages::Message;
use crate::sandbox::person_times::Sent;
use crate::sandbox::tokens::Who;
use crate::sandbox::world::World;

const MAX_CONTENT: usize = 2_048;
const RECALL_MS: i64 = 86_400_000;

const MSGTYPES: [&str; 11] = [
    "text",
    "image",
    "voice",
    "video",
    "file",
    "textcard",
    "news",
    "mpnews",
    "markdown",
    "miniprogram_notice",
    "template_card",
];

pub(super) fn send(world: &mut World, context: Context<'_>) -> Reply {
    let Context { call, who, now } = context;
    let body = context.body()?;
    if number(body.get("agentid").ok_or(41011)?).ok_or(40056)? != world.app(who).agent_id {
        return Err(301_002);
    }
    let msgtype = text(body, "msgtype");
    if !MSGTYPES.contains(&msgtype) {
        return Err(40008);
    }
    let content = excerpt(world, context, body, msgtype)?;
    let named = recipients::resolve(&world.corps[who.corp].directory, body)?;
    // What is dropped was accepted: it is taken from the day's budget all the same.
    world.spend(Row::Messages, who, named.members.len(), now)?;
    let (to, dropped) = world.deliver(Row::MemberMessages, who, named.members, now);
    world.person_times.add(who, to.len(), now);
    let msgid = world.random.text(2);
    let fields = json!({"invaliduser": named.invalid_users, "invalidparty": named.invalid_parties,
        "invalidtag": named.invalid_tags, "unlicenseduser": "", "msgid": msgid});
    let msgtype = msgtype.to_owned();
    let message =
        Message { at: now, who, chatid: None, to, dropped, msgtype, content, msgid, recalled: false };
    world.messages.push(message);
    // WeCom warns in the errmsg of a success: whoever compares it with "ok" is mistaken.
    let is_json = call.content_type.is_empty() || call.content_type.starts_with("application/json");
    Ok(Answer::done(if is_json { "ok" } else { "ok. Warning: wrong json format. " }, &fields))
}

/// The message itself: the text where it is text, else its part of the body.
pub(super) fn excerpt(
    world: &World,
    Context { who, now, .. }: Context<'_>,
    body: &Value,
    msgtype: &str,
) -> Result<String, i32> {
    let part = body.get(msgtype).filter(|part| part.is_object());
    let content = match msgtype {
        "text" | "markdown" => {
            let content = part.map(|part| text(part, "content")).unwrap_or_default();
            if content.is_empty() { Err(44004) } else { Ok(content.to_owned()) }
        }
        "image" | "voice" | "video" | "file" => {
            let media_id =
                part.map(|part| text(part, "media_id")).filter(|id| !id.is_empty()).ok_or(41006)?;
            world.media.get(who.corp, media_id, now).ok_or(40007).map(|_| media_id.to_owned())
        }
        _ => part.ok_or(40063).map(Value::to_string),
    }?;
    Ok(content[..content.floor_char_boundary(MAX_CONTENT)].to_owned())
}

pub(super) fn recall(world: &mut World, context: Context<'_>) -> Reply {
    let msgid = text(context.body()?, "msgid");
    if msgid.is_empty() {
        return Err(40063);
    }
    if !world.messages.recall(context.who, msgid, context.now - RECALL_MS) {
        return Err(40035);
    }
    Ok(Answer::ok(&Value::Null))
}

/// Successful person-times of today, or with `time_type` 1 of yesterday, for every app of the company.
pub(super) fn statistics(world: &mut World, context: Context<'_>) -> Reply {
    let yesterday = match context.call.json.as_ref().and_then(|body| body.get("time_type")) {
        None => false,
        Some(kind) => match number(kind) {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(40058),
        },
    };
    let sent = |(who, sent): (Who, Sent)| {
        let (today, before) = sent.days(context.now);
        let app = world.app(who);
        let count = if yesterday { before } else { today };
        json!({"agentid": app.agent_id, "app_name": app.settings.name, "count": count})
    };
    let of_corp = world.person_times.iter().filter(|(who, _)| who.corp == context.who.corp);
    let statistics: Vec<Value> = of_corp.map(sent).filter(|entry| entry["count"] != 0).collect();
    Ok(Answer::ok(&json!({"statistics": statistics})))
}
