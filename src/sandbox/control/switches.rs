//! What can be changed while the sandbox runs.

use std::sync::atomic::Ordering::Relaxed;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{AppName, answer, bad, missing, parse};
use crate::sandbox::Shared;
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
        let mut world = shared.world();
        let World { faults, random, .. } = &mut *world;
        let id = faults.add(spec, random).ok_or_else(|| bad(&format!("more than {MAX_FAULTS} faults")))?;
        shared.late_calls.store(world.faults.any_late(), Relaxed);
        Ok(json!({"id": id}))
    }))
}

pub(super) async fn remove_faults(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(json!({"removed": remove(&shared, None)}))
}

pub(super) async fn remove_fault(shared: Data, id: web::Path<u64>) -> HttpResponse {
    let removed = remove(&shared, Some(*id));
    answer(if removed == 0 { Err(missing("fault")) } else { Ok(json!({"removed": removed})) })
}

fn remove(shared: &Shared, id: Option<u64>) -> usize {
    let mut world = shared.world();
    let removed = world.faults.remove(id);
    shared.late_calls.store(world.faults.any_late(), Relaxed);
    removed
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
