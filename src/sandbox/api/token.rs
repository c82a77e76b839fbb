//! gettoken and the tickets.

use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::Context;
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::call::Call;
use crate::sandbox::config::RefetchLifetime;
use crate::sandbox::tokens::Who;
use crate::sandbox::world::{Caller, World};

/// Whose corp and secret these are.
pub(super) fn identify(world: &World, call: &Call) -> Caller {
    let Some(corp_id) = call.filled("corpid") else { return Caller::Nobody(41002) };
    let Some(secret) = call.filled("corpsecret") else { return Caller::Nobody(41004) };
    let Some(corp) = world.corp(corp_id) else { return Caller::Nobody(40013) };
    match app_with(world, corp, secret) {
        Some(app) => Caller::App(Who { corp, app }),
        None => Caller::WrongSecret(corp),
    }
}

fn app_with(world: &World, corp: usize, secret: &str) -> Option<usize> {
    world.corps[corp].apps.iter().position(|app| app.secret.as_bytes().ct_eq(secret.as_bytes()).into())
}

pub(super) fn get(world: &mut World, call: &Call, caller: Caller, now: i64) -> Reply {
    if world.bans.is_banned(call.ip, now) {
        world.stats.over(&["bad-secrets"]);
        return Err(45009);
    }
    let who = match caller {
        Caller::App(who) => who,
        Caller::Nobody(errcode) => return Err(errcode),
        Caller::Robot(_) => return Err(41002),
        Caller::WrongSecret(corp) => {
            world.bans.wrong_secret(call.ip, now, world.config.bad_secret_ban_after);
            let secret = call.param("corpsecret").unwrap_or_default();
            let of_another =
                (0..world.corps.len()).any(|other| other != corp && app_with(world, other, secret).is_some());
            return Err(if of_another { 40091 } else { 40001 });
        }
    };
    world.stats.gettoken(who);
    let lifetime_ms = i64::from(world.config.token_lifetime_secs) * 1000;
    let current = world.tokens.current(who, now).filter(|_| world.config.same_token_on_refetch);
    let (token, expires_in_ms) = match current {
        Some((token, _)) if world.config.refetch_lifetime == RefetchLifetime::Full => (token, lifetime_ms),
        Some((token, expires_at)) => (token, expires_at - now),
        None => {
            let value = world.random.text(5); // 214 characters, as WeCom's
            (world.tokens.issue(who, value, now + lifetime_ms), lifetime_ms)
        }
    };
    // Rounded up: a token that still works never answers 0.
    let expires_in = (expires_in_ms + 999) / 1000;
    Ok(Answer::ok(&json!({"access_token": *token, "expires_in": expires_in})))
}

/// A new ticket each time: nothing is known about repeated fetches.
pub(super) fn ticket(world: &mut World, Context { call, .. }: Context<'_>) -> Reply {
    if call.api == "ticket/get" && !matches!(call.param("type"), Some("agent_config" | "wx_card")) {
        return Err(91040);
    }
    let ticket = world.random.text(2);
    Ok(Answer::ok(&json!({"ticket": ticket, "expires_in": 7200})))
}
