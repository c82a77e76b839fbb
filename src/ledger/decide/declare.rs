//! What the ledger is told: sizes, usage that no call shows, the end of a block.

use crate::ledger::command::{Now, Rejected, Reply};
use crate::ledger::delivered::COUNTED_API;
use crate::ledger::directory::ApiKey;
use crate::ledger::entry::{
    Blocks, Body, Draft, PenaltyEnded, Refs, Scope, Seq, Size, SizeLearned, UsageDeclared,
};
use crate::ledger::state::{OTHER_API, State};
use crate::quota::{Cost, Dimension, Facets, KEYS_IN_WORDS, Limit, Unit, Window};
use crate::wecom::path::ApiName;

use super::call::tells_members_apart;
use super::{Decision, alert, api_ref, draft};

const NOTE_MAX: usize = 200;
const AMOUNT_MAX: i64 = 1_000_000_000;
const MEMBERS_MAX: u64 = 1_000_000_000;
/// Departments or tags in a list, or members of a chat, that one entry holds.
const LIST_MAX: usize = 10_000;

/// The API whose limits may tell group chats and their members apart.
pub(super) const CHAT_API: &str = "appchat/send";

pub(super) fn learn(state: &State, app: Seq, size: Size, call: Seq, now: Now) -> Decision {
    let unchanged = Decision::reply(Reply::Done { seq: 0, changed: false });
    let Some(corp) = state.directory.live_app(app).map(|app| app.corp) else { return unchanged };
    let Some(size) = within_bounds(state, size) else { return unchanged };
    if state.sizes.knows(corp, app, &size, now.tick) {
        return unchanged;
    }
    let refs = Refs { corp: Some(corp), app: Some(app), ..Refs::default() };
    let body = Body::SizeLearned(SizeLearned { size, call_seq: Some(call) });
    Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
}

/// A size as an entry may hold it; none if it is too long for one.
pub(super) fn within_bounds(state: &State, size: Size) -> Option<Size> {
    let lists = match &size {
        Size::Tree { departments, .. } => [departments.len(), 0],
        Size::Tag { parties, .. } | Size::TagGrown { parties, .. } => [parties.len(), 0],
        Size::Chat { hashes, .. } => [hashes.len(), 0],
        Size::ChatGrown { added, removed, .. } => [added.len(), removed.len()],
        Size::Scope { parties, tags, .. } => [parties.len(), tags.len()],
        Size::Moved { into } => [into.len(), 0],
        _ => [0, 0],
    };
    if lists.iter().any(|&len| len > LIST_MAX) {
        return None;
    }
    Some(if tells_members_apart(state, CHAT_API) { size } else { without_members(size) })
}

/// Who is in a chat is written down only where a limit asks for it.
fn without_members(size: Size) -> Size {
    match size {
        Size::Chat { chat, members, .. } => Size::Chat { chat, members, hashes: Vec::new() },
        Size::ChatGrown { chat, by, .. } => {
            Size::ChatGrown { chat, by, added: Vec::new(), removed: Vec::new() }
        }
        other => other,
    }
}

pub(super) fn size(
    state: &State,
    corp_id: &str,
    agent_id: Option<&str>,
    size: Size,
    by: Option<Seq>,
) -> Decision {
    let (corp, app) = match whose(state, corp_id, agent_id) {
        Ok(whose) => whose,
        Err(unknown) => return unknown,
    };
    if !by.is_none_or(|by| may_declare(state, by, app)) {
        let what = "this API key is not active, lacks the scope `admin`, or is limited to other apps";
        return Decision::rejected(Rejected::Conflict(what.to_owned()));
    }
    let members = match &size {
        Size::Department { members, with_children: true, .. }
        | Size::Tag { members, .. }
        | Size::Everyone { members } => *members,
        _ => return Decision::invalid("only departments, tags and everyone have a size to declare"),
    };
    if members > MEMBERS_MAX {
        return Decision::invalid(format!("the number of members must be 0 to {MEMBERS_MAX}"));
    }
    if !state.sizes.has_room() {
        return Decision::rejected(Rejected::Conflict("too many sizes are known already".to_owned()));
    }
    let refs = Refs { corp: Some(corp), app, api_key: by, ..Refs::default() };
    let body = Body::SizeDeclared(SizeLearned { size, call_seq: None });
    Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
}

/// A key that is limited to some apps speaks for these alone, not for all of a corp.
fn may_declare(state: &State, api_key: Seq, app: Option<Seq>) -> bool {
    let of_admin = |key: &&ApiKey| key.is_active() && key.has(Scope::Admin);
    let key = state.directory.api_keys.get(&api_key).filter(of_admin);
    key.is_some_and(|key| app.map_or(key.apps.is_empty(), |app| key.may_use_app(app)))
}

/// The corp and, where one is named, the app.
fn whose(state: &State, corp_id: &str, agent_id: Option<&str>) -> Result<(Seq, Option<Seq>), Decision> {
    let Some((corp, _)) = state.directory.corp(corp_id) else {
        return Err(Decision::not_found(format!("corp `{corp_id}` is unknown; `corp list` shows all")));
    };
    let Some(agent_id) = agent_id else { return Ok((corp, None)) };
    let Some((app, _)) = state.directory.app(corp_id, agent_id) else {
        let unknown = format!("app `{corp_id}/{agent_id}` is unknown; `app list` shows all");
        return Err(Decision::not_found(unknown));
    };
    Ok((corp, Some(app)))
}

pub(super) fn usage(
    state: &State,
    (corp_id, agent_id): (&str, Option<&str>),
    api: Option<&str>,
    used: UsageDeclared,
    now: Now,
) -> Decision {
    let (corp, app) = match whose(state, corp_id, agent_id) {
        Ok(whose) => whose,
        Err(unknown) => return unknown,
    };
    if let Some(fault) = fault(&used) {
        return Decision::invalid(fault);
    }
    // WeCom counts messages, group chats and the rest apart: what is meant is known, or said.
    let api = api.or((used.unit == Unit::PersonTimes).then_some(COUNTED_API));
    if let Some(api) = api
        && let Err(error) = ApiName::parse(&format!("/cgi-bin/{api}"))
    {
        return Decision::invalid(format!("the API must be a name such as message/send: {error}"));
    }
    let (api_seq, named) = api.map_or((None, None), |api| {
        let (seq, named) = api_ref(state, api);
        (Some(seq), named)
    });
    // One that gets no name of its own counts where all of those count.
    let known = |seq| state.directory.apis.get(&seq).map(String::as_str);
    let api = match &named {
        Some(Draft { body: Body::ApiNamed(x), .. }) => Some(x.name.as_str()),
        _ => api_seq.and_then(known),
    };
    if let Some(fault) = counts_nowhere(state, app, api, &used) {
        return Decision::invalid(fault);
    }
    let refs = Refs { corp: Some(corp), app, api: api_seq, ..Refs::default() };
    let facets = Facets {
        corp,
        app: app.unwrap_or(0),
        api: api_seq.unwrap_or(0),
        api_name: api.unwrap_or(""),
        chat: used.article,
        ..Facets::default()
    };
    let cost = Cost::in_unit(used.unit, used.amount.unsigned_abs());
    if !state.meters.has_room_to_declare(&facets, &cost) {
        return Decision::rejected(Rejected::Conflict(KEYS_IN_WORDS.to_owned()));
    }
    let seq = state.head + 1 + u64::from(named.is_some());
    let alerts = match u64::try_from(used.amount) {
        Ok(_) => alert::declared(state, &facets, &cost, now),
        Err(_) => Vec::new(),
    };
    let drafts = named.into_iter().chain([draft(refs, Body::UsageDeclared(used))]).chain(alerts).collect();
    Decision { drafts, ..Decision::reply(Reply::Done { seq, changed: true }) }
}

/// What is wrong with a declaration by itself.
fn fault(used: &UsageDeclared) -> Option<String> {
    let UsageDeclared { unit, amount, note, article } = used;
    if *amount == 0 || !(-AMOUNT_MAX..=AMOUNT_MAX).contains(amount) {
        return Some(format!("the amount must be 1 to {AMOUNT_MAX}, or below zero to take back"));
    }
    if note.chars().count() > NOTE_MAX || note.chars().any(char::is_control) {
        return Some(format!("a note has at most {NOTE_MAX} printable characters"));
    }
    if *unit == Unit::Calls {
        return Some("calls can't be declared: each API counts its own".to_owned());
    }
    (*article != 0 && *unit != Unit::Reads).then(|| "only reads are of an article".to_owned())
}

/// Why it would count nowhere, or not where it should.
fn counts_nowhere(
    state: &State,
    app: Option<Seq>,
    api: Option<&str>,
    used: &UsageDeclared,
) -> Option<String> {
    let UsageDeclared { unit, amount, article, .. } = *used;
    let of_unit = || {
        let matches = move |limit: &&Limit| limit.unit == unit && api.is_none_or(|api| limit.matches(api));
        state.meters.limits().filter(matches)
    };
    // Of what else such a limit tells apart, a declaration says nothing.
    let known = |dimension| match dimension {
        Dimension::Corp => true,
        Dimension::App => app.is_some(),
        Dimension::Api => api.is_some(),
        Dimension::Chat => article != 0,
        _ => false,
    };
    let unknown = |limit: &Limit| {
        Dimension::ALL.into_iter().filter(|&it| limit.scope.has(it) && !known(it)).collect::<Vec<_>>()
    };
    if let Some(limit) = of_unit().find(|limit| unknown(limit) == [Dimension::App]) {
        let limit = &limit.name;
        return Some(format!("limit {limit} counts this for each app: name it, CORP_ID/AGENT_ID"));
    }
    let counting = || of_unit().filter(|limit| unknown(limit).is_empty());
    if counting().next().is_none() {
        let profile = state.meters.profile();
        let of = match (unit, app) {
            (Unit::Reads, _) if article == 0 => "a corp as a whole; maybe of an article: name it".to_owned(),
            (_, Some(_)) => "an app".to_owned(),
            (_, None) => "a corp".to_owned(),
        };
        let by = match api {
            None => String::new(),
            Some(OTHER_API) => format!(" by {OTHER_API}: too many unknown APIs have a name already"),
            Some(api) => format!(" by {api}"),
        };
        return Some(format!("no limit of profile {profile} counts this unit{by} of {of}"));
    }
    (amount < 0 && !counting().any(|limit| limit.window == Window::Total))
        .then(|| "what was spent stays spent until its window has passed; only a total goes down".to_owned())
}

pub(super) fn clear_penalty(state: &State, started: Seq) -> Decision {
    let Some((blocked, _)) = state.penalties.by_entry(started) else {
        return Decision::not_found(format!("there is no penalty {started}; `penalty list` shows all"));
    };
    let (corp, app) = match blocked.blocks {
        Blocks::Corp => (Some(blocked.whose), None),
        Blocks::App => (state.directory.apps.get(&blocked.whose).map(|app| app.corp), Some(blocked.whose)),
        Blocks::EgressIp => (None, None),
    };
    let refs = Refs { corp, app, api: Some(blocked.api), api_key: None };
    let body = Body::PenaltyCleared(PenaltyEnded { started, reason: "cleared".to_owned(), drift: None });
    Decision::one(refs, body, Reply::Done { seq: state.head + 1, changed: true })
}
