//! What can be changed while the sandbox runs.

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AppName, Refusal, answer, bad, missing, parse};
use crate::sandbox::Shared;
use crate::sandbox::config::{Limits, RefetchLifetime, WindowKind};
use crate::sandbox::faults::{MAX_FAULTS, Spec};
use crate::sandbox::media::Upload;
use crate::sandbox::world::World;

type Data = web::Data<Shared>;

pub(super) async fn faults(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(json!({"faults": shared.world().faults.list()}))
}

pub(super) async fn add_fault(shared: Data, body: Bytes) -> HttpResponse {
    answer(parse::<Spec>(&body).and_then(|spec| {
        spec.check().map_err(bad)?;
        let id =
            shared.world().faults.add(spec).ok_or_else(|| bad(&format!("more than {MAX_FAULTS} faults")))?;
        Ok(json!({"id": id}))
    }))
}

pub(super) async fn remove_faults(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(json!({"removed": shared.world().faults.remove(None)}))
}

pub(super) async fn remove_fault(shared: Data, id: web::Path<u64>) -> HttpResponse {
    let removed = shared.world().faults.remove(Some(*id));
    answer(if removed == 0 { Err(missing("fault")) } else { Ok(json!({"removed": removed})) })
}

/// The error code that the tokens answer from now on: 40014 unless another one is asked for.
#[derive(Debug, Deserialize)]
struct Revoke {
    #[serde(flatten)]
    app: AppName,
    errcode: Option<i32>,
}

pub(super) async fn revoke(shared: Data, body: Bytes) -> HttpResponse {
    answer(parse::<Revoke>(&body).and_then(|ask| {
        let now = shared.clock.now_ms();
        let mut world = shared.world();
        let who = world.who(&ask.app.corp_id, ask.app.agent_id).ok_or_else(|| missing("app"))?;
        Ok(json!({"revoked": world.tokens.revoke(who, ask.errcode.unwrap_or(40014), now)}))
    }))
}

#[derive(Debug, Deserialize)]
struct Secret {
    #[serde(flatten)]
    app: AppName,
    secret: String,
}

pub(super) async fn secret(shared: Data, body: Bytes) -> HttpResponse {
    answer(parse::<Secret>(&body).and_then(|ask| {
        if ask.secret.is_empty() {
            return Err(bad("the secret is empty"));
        }
        let now = shared.clock.now_ms();
        let mut world = shared.world();
        let who = world.who(&ask.app.corp_id, ask.app.agent_id).ok_or_else(|| missing("app"))?;
        world.corps[who.corp].apps[who.app].secret = ask.secret;
        Ok(json!({"revoked": world.tokens.revoke(who, 40014, now)}))
    }))
}

#[derive(Debug, Deserialize)]
struct Advance {
    advance_ms: i64,
}

pub(super) async fn clock(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(json!({"now_ms": shared.clock.now_ms()}))
}

pub(super) async fn advance(shared: Data, body: Bytes) -> HttpResponse {
    answer(parse::<Advance>(&body).map(|ask| {
        shared.clock.advance(ask.advance_ms);
        json!({"now_ms": shared.clock.now_ms()})
    }))
}

/// Limits by the name of a set, or one by one (what is left out has the default's value).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LimitsChoice {
    Named(String),
    Own(Limits),
}

impl LimitsChoice {
    fn limits(self) -> Result<Limits, Refusal> {
        match self {
            Self::Own(limits) => Ok(limits),
            Self::Named(name) => Limits::named(&name).ok_or_else(|| missing("set of limits")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    windows: Option<WindowKind>,
    limits: Option<LimitsChoice>,
    same_token_on_refetch: Option<bool>,
    refetch_lifetime: Option<RefetchLifetime>,
    token_lifetime_secs: Option<u32>,
    bad_secret_ban_after: Option<u32>,
    request_log: Option<usize>,
    message_log_bytes: Option<usize>,
}

pub(super) async fn settings(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(show(&shared.world()))
}

pub(super) async fn change_settings(shared: Data, body: Bytes) -> HttpResponse {
    answer(parse::<Settings>(&body).and_then(|ask| {
        let limits = ask.limits.map(LimitsChoice::limits).transpose()?;
        let mut world = shared.world();
        let World { config, log, messages, .. } = &mut *world;
        config.limits = limits.unwrap_or(config.limits);
        config.windows = ask.windows.unwrap_or(config.windows);
        config.same_token_on_refetch = ask.same_token_on_refetch.unwrap_or(config.same_token_on_refetch);
        config.refetch_lifetime = ask.refetch_lifetime.unwrap_or(config.refetch_lifetime);
        config.token_lifetime_secs = ask.token_lifetime_secs.unwrap_or(config.token_lifetime_secs);
        config.bad_secret_ban_after = ask.bad_secret_ban_after.unwrap_or(config.bad_secret_ban_after);
        config.request_log = ask.request_log.unwrap_or(config.request_log);
        config.message_log_bytes = ask.message_log_bytes.unwrap_or(config.message_log_bytes);
        log.resize(config.request_log);
        messages.resize(config.message_log_bytes);
        Ok(show(&world))
    }))
}

fn show(world: &World) -> Value {
    let config = &world.config;
    json!({
        "windows": config.windows, "limits": config.limits,
        "same_token_on_refetch": config.same_token_on_refetch, "refetch_lifetime": config.refetch_lifetime,
        "token_lifetime_secs": config.token_lifetime_secs, "bad_secret_ban_after": config.bad_secret_ban_after,
        "request_log": config.request_log, "message_log_bytes": config.message_log_bytes,
    })
}

#[derive(Debug, Deserialize)]
struct BigFile {
    corp_id: String,
    filename: String,
    size: usize,
}

/// A file whose byte number i is i mod 251, so that a range of it can be checked without having it.
pub(super) async fn media(shared: Data, body: Bytes) -> HttpResponse {
    const MAX: usize = 256 << 20;
    answer(parse::<BigFile>(&body).and_then(|ask| {
        if ask.size > MAX {
            return Err(bad("size is over 256 MiB"));
        }
        let bytes: Vec<u8> = (0..=250).cycle().take(ask.size).collect();
        let at = shared.clock.now_ms();
        let mut world = shared.world();
        let corp = world.corp(&ask.corp_id).ok_or_else(|| missing("corp"))?;
        let media_id = world.random.text(2);
        let content_type = "application/octet-stream".to_owned();
        let upload = Upload { corp, at, filename: ask.filename, content_type, bytes: bytes.into() };
        world.media.put(media_id.clone(), upload);
        Ok(json!({"media_id": media_id}))
    }))
}
