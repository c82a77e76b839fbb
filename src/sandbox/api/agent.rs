//! agent/…: what an app looks like.

use serde_json::{Value, json};

use super::{Context, number};
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::limits::Row;
use crate::sandbox::world::World;

const MAX_TEXT: usize = 512;

pub(super) fn dispatch(world: &mut World, context: Context<'_>, api: &str) -> Option<Reply> {
    Some(match api {
        "agent/get" => get(world, context),
        "agent/set" => set(world, context),
        "agent/list" => Ok(list(world, context)),
        _ => return None,
    })
}

fn get(world: &World, context: Context<'_>) -> Reply {
    let app = world.app(context.who);
    let wanted = context.call.filled("agentid").ok_or(41011)?;
    if wanted.parse::<u32>().map_err(|_| 40056)? != app.agent_id {
        return Err(301_002);
    }
    let of = &app.settings;
    Ok(Answer::ok(&json!({"agentid": app.agent_id, "name": of.name, "close": 0,
        "description": of.description, "redirect_domain": of.redirect_domain, "home_url": of.home_url,
        "report_location_flag": of.report_location_flag, "isreportenter": of.isreportenter,
        "square_logo_url": "", "allow_partys": {"partyid": [1]}, "allow_userinfos": {"user": []},
        "allow_tags": {"tagid": []}})))
}

/// The token's own app: it may see no other.
fn list(world: &World, context: Context<'_>) -> Answer {
    let app = world.app(context.who);
    let agent = json!({"agentid": app.agent_id, "name": app.settings.name, "square_logo_url": ""});
    Answer::ok(&json!({"agentlist": [agent]}))
}

/// All of it or nothing: a domain too many leaves the name as it was.
fn set(world: &mut World, context: Context<'_>) -> Reply {
    let body = context.body()?;
    let app = world.app(context.who);
    if number(body.get("agentid").ok_or(41011)?).ok_or(40056)? != app.agent_id {
        return Err(301_002);
    }
    let mut settings = app.settings.clone();
    let texts = [
        ("name", &mut settings.name),
        ("description", &mut settings.description),
        ("redirect_domain", &mut settings.redirect_domain),
        ("home_url", &mut settings.home_url),
    ];
    for (name, field) in texts {
        if let Some(value) = body.get(name).and_then(Value::as_str) {
            if value.len() > MAX_TEXT {
                return Err(40058);
            }
            value.clone_into(field);
        }
    }
    let flags = [
        ("report_location_flag", &mut settings.report_location_flag),
        ("isreportenter", &mut settings.isreportenter),
    ];
    for (name, field) in flags {
        if let Some(value) = body.get(name) {
            *field = number(value).filter(|flag| *flag <= 2).ok_or(40058)?;
        }
    }
    let logo = body.get("logo_mediaid").and_then(Value::as_str).filter(|id| !id.is_empty());
    if logo.is_some_and(|id| world.media.get(context.who.corp, id, context.now).is_none()) {
        return Err(40007);
    }
    // The same domain again counts as well: what is known is only how many may be set.
    if body.get("redirect_domain").and_then(Value::as_str).is_some_and(|domain| !domain.is_empty()) {
        world.spend(Row::TrustedDomains, context.who, 1, context.now)?;
    }
    world.corps[context.who.corp].apps[context.who.app].settings = settings;
    Ok(Answer::ok(&Value::Null))
}
