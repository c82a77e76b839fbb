//! What each simulated API does.

mod agent;
mod appchat;
mod department;
mod media;
mod message;
mod misc;
mod multipart;
mod office;
mod recipients;
mod token;
mod user;
mod webhook;

use serde_json::Value;

use super::answer::{Answer, Reply};
use super::call::Call;
use super::tokens::Who;
use super::world::{Caller, World};

pub(super) use misc::has_valid_code;

/// A call whose credential is good.
#[derive(Debug, Clone, Copy)]
struct Context<'a> {
    call: &'a Call,
    who: Who,
    now: i64,
}

impl Context<'_> {
    /// The JSON body; what is no JSON is an invalid argument.
    fn body(&self) -> Result<&Value, i32> {
        self.call.json.as_ref().filter(|body| body.is_object()).ok_or(40058)
    }
}

/// A number that callers write as a number or as text.
fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| n.try_into().ok()).or_else(|| value.as_str()?.trim().parse().ok())
}

/// A text field, empty if it is missing.
fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Who calls.
pub(super) fn identify(world: &World, call: &Call, now: i64) -> Caller {
    if call.api == "gettoken" {
        return token::identify(world, call);
    }
    if call.api == "webhook/send" {
        return webhook::identify(call);
    }
    match call.filled("access_token") {
        None => Caller::Nobody(41001),
        Some(token) => world.tokens.verify(token, now).map_or_else(Caller::Nobody, Caller::App),
    }
}

/// Lets the call take effect.
pub(super) fn dispatch(world: &mut World, call: &Call, caller: Caller, now: i64) -> Reply {
    if call.api == "gettoken" {
        return token::get(world, call, caller, now);
    }
    let who = match caller {
        Caller::App(who) => who,
        Caller::Nobody(errcode) => return Err(errcode),
        Caller::WrongSecret(_) => return Err(40001),
        Caller::Robot(_) => return webhook::send(call),
    };
    if !call.is_post()
        && let Some(errcode) = needs_post(&call.api)
    {
        return Err(errcode);
    }
    let context = Context { call, who, now };
    match call.api.as_str() {
        "message/send" => message::send(world, context),
        "message/recall" => message::recall(world, context),
        "message/get_statistics" => message::statistics(world, context),
        "media/upload" => media::upload(world, context),
        "media/get" => media::get(world, context),
        "get_jsapi_ticket" | "ticket/get" => token::ticket(world, context),
        "media/uploadimg" => media::upload_image(world, context),
        "checkin/getcheckindata" => office::checkins(world, context),
        "corp/getapprovaldata" => office::approvals(context),
        "get_api_domain_ip" | "getcallbackip" => Ok(misc::ip_list()),
        "auth/getuserinfo" | "user/getuserinfo" => misc::user_of_code(world, context),
        api => {
            let reply = user::dispatch(world, context, api)
                .or_else(|| department::dispatch(world, context, api))
                .or_else(|| appchat::dispatch(world, context, api))
                .or_else(|| agent::dispatch(world, context, api));
            reply.unwrap_or_else(|| Ok(Answer::ok(&Value::Null)))
        }
    }
}

/// WeCom does not answer 405 to a GET, it stumbles over the missing body, each API in its own way.
fn needs_post(api: &str) -> Option<i32> {
    match api {
        "user/create" | "user/update" => Some(40003),
        "message/send"
        | "message/recall"
        | "user/batchdelete"
        | "appchat/create"
        | "appchat/update"
        | "appchat/send"
        | "agent/set"
        | "checkin/getcheckindata"
        | "corp/getapprovaldata" => Some(40058),
        "department/create" | "media/upload" | "media/uploadimg" | "message/get_statistics" => Some(40063),
        _ => None,
    }
}
