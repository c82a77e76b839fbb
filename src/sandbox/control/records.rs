//! What the sandbox has seen.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::log::{Record, Shown};
use crate::sandbox::world::World;
use crate::sandbox::{Shared, shown};

const DEFAULT_PAGE: usize = 10_000;
const MAX_PAGE: usize = 100_000;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }

    /// Where the next page begins, or null after the last one.
    fn next(reached: Option<u64>, last: u64) -> Value {
        reached.filter(|n| *n < last).map_or(Value::Null, Value::from)
    }
}

pub(super) async fn requests(shared: web::Data<Shared>, page: web::Query<Page>) -> HttpResponse {
    let (shown, first, last) = {
        let world = shared.world();
        let records = world.log.after(page.after, page.limit());
        let shown: Vec<Shown> = records.map(|(n, record)| show(&world, n, record)).collect();
        (shown, world.log.first(), world.log.last())
    };
    let next = Page::next(shown.last().map(|record| record.n), last);
    HttpResponse::Ok().json(json!({"requests": shown, "first": first, "last": last, "next": next}))
}

fn show(world: &World, n: u64, record: &Record) -> Shown {
    let name = |id| world.names.name(id);
    let corp_id = record.corp.and_then(|corp| world.corps.get(corp as usize)).map(|corp| corp.id.clone());
    let shown = record.clone().show(n, name(record.api), name(record.method), name(record.query));
    Shown { corp_id, agent_id: record.app, ..shown }
}

pub(super) async fn forget_requests(shared: web::Data<Shared>) -> HttpResponse {
    shared.world().log.clear();
    HttpResponse::NoContent().finish()
}

pub(super) async fn stats(shared: web::Data<Shared>) -> HttpResponse {
    let stats = shown::stats(&shared.world(), shared.clock.now_ms());
    HttpResponse::Ok().json(stats)
}

pub(super) async fn forget_stats(shared: web::Data<Shared>) -> HttpResponse {
    shared.world().stats.clear();
    HttpResponse::NoContent().finish()
}

pub(super) async fn forget_counters(shared: web::Data<Shared>) -> HttpResponse {
    let mut world = shared.world();
    world.counters.clear();
    world.members.clear();
    world.concurrency.clear();
    world.bans.clear();
    HttpResponse::NoContent().finish()
}

pub(super) async fn messages(shared: web::Data<Shared>, page: web::Query<Page>) -> HttpResponse {
    let world = shared.world();
    let mut reached = None;
    let shown: Vec<Value> = world
        .messages
        .after(page.after, page.limit())
        .map(|(n, message)| {
            reached = Some(n);
            message.show(n, &world.corps[message.who.corp].id, world.app(message.who).agent_id)
        })
        .collect();
    let last = world.messages.last();
    HttpResponse::Ok().json(json!({"messages": shown, "last": last, "next": Page::next(reached, last)}))
}
