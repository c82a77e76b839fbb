//! What each simulated API does.

mod department;
mod media;
mod message;
mod misc;
mod multipart;
mod recipients;
mod token;
mod user;

use serde_json::Value;

use super::answer::{Answer, Reply};
use super::call::Call;
use super::counters::{Caps, Key};
use super::tokens::Who;
use super::world::{Caller, World};

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
    match call.filled("access_token") {
        None => Caller::Nobody(41001),
        Some(token) => world.tokens.verify(token, now).map_or_else(Caller::Nobody, Caller::App),
    }
}

/// Counts the call; false if it is over a cap or during a penalty.
pub(super) fn count(world: &mut World, call: &Call, api: u16, caller: Caller, now: i64) -> bool {
    const NO_CORP: u32 = u32::MAX;
    let limits = &world.config.limits;
    let corp = caller.corp().map(|corp| corp as u32);
    let exempt = match call.api.as_str() {
        "message/send" => !limits.base_counts_messages,
        "auth/getuserinfo" => misc::has_valid_code(world, call, caller),
        _ => false,
    };
    let mut keys: Vec<(Key, Caps)> = Vec::with_capacity(4);
    if !exempt {
        if limits.ip_api() != [None, None] {
            keys.push((Key::IpApi(call.ip, api), limits.ip_api()));
        }
        if let Some(corp) = corp.filter(|_| limits.corp_api() != [None, None]) {
            keys.push((Key::CorpApi(corp, api), limits.corp_api()));
        }
        if call.param("debug") == Some("1") {
            keys.push((Key::Debug(corp.unwrap_or(NO_CORP), api), [Some(5), None]));
        }
        if let Caller::App(who) = caller {
            keys.extend(token::ticket_keys(call, who, api));
        }
    }
    keys.is_empty() || world.counters.admit(&keys, now, world.config.windows)
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
        "agent/get" => misc::agent(world, context),
        "agent/list" => Ok(misc::agents(world, context)),
        "get_api_domain_ip" | "getcallbackip" => Ok(misc::ip_list()),
        "auth/getuserinfo" | "user/getuserinfo" => misc::user_of_code(world, context),
        api => {
            if let Some(reply) = user::dispatch(world, context, api) {
                return reply;
            }
            department::dispatch(world, context, api).unwrap_or_else(|| Ok(Answer::ok(&Value::Null)))
        }
    }
}

/// WeCom does not answer 405 to a GET, it stumbles over the missing body, each API in its own way.
fn needs_post(api: &str) -> Option<i32> {
    match api {
        "user/create" | "user/update" => Some(40003),
        "message/send" | "message/recall" | "user/batchdelete" => Some(40058),
        "department/create" | "media/upload" | "message/get_statistics" => Some(40063),
        _ => None,
    }
}
