//! What of `Config` can be changed while the sandbox runs.

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Refusal, answer, bad, parse};
use crate::sandbox::Shared;
use crate::sandbox::config::{RefetchLifetime, WindowKind};
use crate::sandbox::limits::{Limits, Operator};
use crate::sandbox::world::World;

type Data = web::Data<Shared>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    windows: Option<WindowKind>,
    /// Limits by the name of a preset; with `operator`, a provider's.
    preset: Option<String>,
    operator: Option<Operator>,
    /// The caps that differ from the preset, or from the default one if none is named.
    limits: Option<Value>,
    same_token_on_refetch: Option<bool>,
    refetch_lifetime: Option<RefetchLifetime>,
    token_lifetime_secs: Option<u32>,
    bad_secret_ban_after: Option<u32>,
    request_log: Option<usize>,
    message_log_bytes: Option<usize>,
}

impl Settings {
    /// The limits that are asked for, if any are.
    fn limits(&self) -> Result<Option<Limits>, Refusal> {
        let limits = match (&self.preset, self.operator, &self.limits) {
            (None, None, None) => return Ok(None),
            (None, None, Some(limits)) => Limits::from_json(limits.clone()),
            (preset, operator, differing) => {
                let differing = match differing {
                    None => Map::new(),
                    Some(Value::Object(differing)) => differing.clone(),
                    Some(_) => return Err(bad("beside a preset, limits are an object")),
                };
                Limits::chosen(preset.as_deref(), operator.unwrap_or_default(), differing)
            }
        };
        limits.map(Some).map_err(|reason| bad(&reason))
    }
}

pub(super) async fn settings(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(show(&shared.world()))
}

pub(super) async fn change_settings(shared: Data, body: Bytes) -> HttpResponse {
    answer(parse::<Settings>(&body).and_then(|ask| {
        let limits = ask.limits()?;
        let mut world = shared.world();
        let World { config, log, messages, .. } = &mut *world;
        if let Some(limits) = limits {
            config.limits = limits;
        }
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

/// `preset` and `operator` are null where the limits are no preset's.
fn show(world: &World) -> Value {
    let config = &world.config;
    let preset = config.limits.preset_name();
    json!({
        "windows": config.windows, "limits": config.limits,
        "preset": preset.map(|(name, _)| name), "operator": preset.map(|(_, operator)| operator),
        "same_token_on_refetch": config.same_token_on_refetch, "refetch_lifetime": config.refetch_lifetime,
        "token_lifetime_secs": config.token_lifetime_secs, "bad_secret_ban_after": config.bad_secret_ban_after,
        "request_log": config.request_log, "message_log_bytes": config.message_log_bytes,
    })
}
