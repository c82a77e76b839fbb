//! What a call asks for, read off its body; what its answer shows as not sent; and what the answer teaches about
//! sizes. Recipients leave here only as keyed hashes.

use std::io;

use bytes::Bytes;

use crate::ledger::command::{Ask, Command, NotSent, To};
use crate::ledger::directory::App;
use crate::ledger::entry::{Seq, Size};
use crate::vault::Vault;
use crate::wecom::cost::{self, Demand, Lesson, Members, Shown};
use crate::wecom::path::ApiName;
use crate::wecom::query::Query;

use super::auth::Identity;
use super::call::{Admitted, Call};
use super::relay::Read;
use super::spool::Spooled;
use super::{Gateway, Messages};

/// A longer text is not parsed between other calls.
const INLINE_MAX: usize = 64 * 1024;

/// WeCom is busy: whether the message went out is not known.
const BUSY: i64 = -1;

/// Makes hashes of what is in one corp.
pub(crate) struct Hasher<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) ledger_id: &'a str,
    pub(crate) corp_id: &'a str,
}

impl Hasher<'_> {
    /// In rising order, each once.
    fn members(&self, userids: &[String]) -> Vec<u64> {
        let hash = |userid: &String| self.vault.member_hash(self.ledger_id, self.corp_id, userid);
        let mut hashes: Vec<u64> = userids.iter().map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    fn chat(&self, chat: &str) -> u64 {
        self.vault.chat_hash(self.ledger_id, self.corp_id, chat)
    }
}

/// Runs with the app that calls and the hasher of its corp; nothing comes of it if the app is gone.
fn in_corp<T>(gateway: &Gateway, identity: Identity, run: impl FnOnce(&App, &Hasher<'_>) -> T) -> Option<T> {
    let (directory, ledger_id) = (gateway.ledger.directory(), gateway.ledger.ledger_id());
    let app = directory.apps.get(&identity.app)?;
    let corp_id = &directory.corps.get(&app.corp)?.corp_id;
    Some(run(app, &Hasher { vault: &gateway.vault, ledger_id: &ledger_id, corp_id }))
}

/// What the call takes, as far as its request says; both attempts ask for the same.
pub(super) async fn ask(
    gateway: &Gateway,
    identity: Identity,
    api: &ApiName,
    query: &Query,
    body: &Spooled,
) -> io::Result<Ask> {
    let api = api.as_str();
    if api == "webhook/send" {
        let key = query.get("key").unwrap_or_default();
        let chat = gateway.vault.robot_hash(&gateway.ledger.ledger_id(), &key);
        return Ok(Ask { chat, ..Ask::default() });
    }
    let body = if cost::needs_body(api) { body.bytes(cost::BODY_MAX).await? } else { Some(Bytes::new()) };
    let demand = match body {
        Some(body) if body.len() > INLINE_MAX => {
            let api = api.to_owned();
            let parsed = tokio::task::spawn_blocking(move || cost::demand(&api, Some(&body)));
            parsed.await.map_err(io::Error::other)?
        }
        body => cost::demand(api, body.as_deref()),
    };
    let ask = in_corp(gateway, identity, |_, hasher| ask_of(api, &demand, hasher));
    // Without its app the call is refused anyway.
    Ok(ask.unwrap_or(Ask { to: To::Everyone, ..Ask::default() }))
}

pub(crate) fn ask_of(api: &str, demand: &Demand, hasher: &Hasher<'_>) -> Ask {
    let mut chat = 0;
    let to = match &demand.to {
        cost::To::Nobody => To::Nobody,
        // What an app sees bounds its own `@all`, but not a message to other corps, to parents, or to a group chat.
        cost::To::Everyone if api == "message/send" => To::Everyone,
        cost::To::Everyone => members(&Members { unknown_groups: 1, ..Members::default() }, hasher),
        cost::To::Members(named) => members(named, hasher),
        cost::To::Chat(id) => {
            chat = hasher.chat(id);
            To::Chat
        }
    };
    Ask {
        to,
        chat,
        accounts: u64::from(demand.accounts),
        domains: u64::from(demand.domains),
        unread: demand.note.map(cost::Unreadable::as_str),
    }
}

fn members(named: &Members, hasher: &Hasher<'_>) -> To {
    To::Members {
        users: hasher.members(&named.users),
        others: u64::from(named.others),
        parties: named.parties.clone(),
        tags: named.tags.clone(),
        unreadable: u64::from(named.unknown_groups),
    }
}

/// What the answer shows as not sent.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// As far as it is not to count.
    pub(crate) free: NotSent,
    /// Everybody whom the answer names, whether or not that is to count.
    pub(crate) named: NotSent,
}

impl Unsent {
    fn new(messages: Messages, failed: bool, named: NotSent) -> Self {
        let free = if messages.invalid_recipients_count { NotSent::default() } else { named.clone() };
        Self { free: NotSent { all: failed && !messages.failed_count, ..free }, named }
    }
}

pub(super) fn unsent(gateway: &Gateway, call: &Call, read: &Read) -> Unsent {
    let Some(answer) = read.said().filter(|_| call.ask.to != To::Nobody) else { return Unsent::default() };
    let shown = cost::shown(call.api.as_str(), answer);
    let failed = shown.failed && read.errcode() != Some(BUSY);
    let named = in_corp(gateway, call.identity, |_, hasher| invalid(&call.ask.to, &shown, hasher));
    Unsent::new(gateway.settings.messages, failed, named.unwrap_or_default())
}

/// The same where the client says what the answer was. Who was asked for is not known here one by one: the ledger takes
/// off no more than was reserved.
pub(crate) fn shown_unsent(messages: Messages, api: &str, answer: &[u8], errcode: Option<i64>) -> Unsent {
    let shown = cost::shown(api, answer);
    let failed = shown.failed && errcode != Some(BUSY);
    let mut named: Vec<&String> = shown.invalid_users.iter().chain(&shown.unlicensed_users).collect();
    named.sort_unstable();
    named.dedup();
    let users = named.len() as u64 + u64::from(shown.invalid_others);
    let named = NotSent { users, parties: shown.invalid_parties, tags: shown.invalid_tags, all: false };
    Unsent::new(messages, failed, named)
}

/// Of those that were asked for, the ones that the answer names; each once.
fn invalid(asked: &To, shown: &Shown, hasher: &Hasher<'_>) -> NotSent {
    let To::Members { users, others, parties, tags, .. } = asked else { return NotSent::default() };
    let named: Vec<String> = shown.invalid_users.iter().chain(&shown.unlicensed_users).cloned().collect();
    let named = hasher.members(&named).into_iter().filter(|hash| users.binary_search(hash).is_ok()).count();
    let both =
        |asked: &[u64], invalid: &[u64]| invalid.iter().copied().filter(|id| asked.contains(id)).collect();
    NotSent {
        users: named as u64 + u64::from(shown.invalid_others).min(*others),
        parties: both(parties, &shown.invalid_parties),
        tags: both(tags, &shown.invalid_tags),
        all: false,
    }
}

/// What the answer teaches about something that the call made larger: written down with the outcome. None: it is not
/// understood, or the call makes nothing larger.
pub(super) async fn taught(gateway: &Gateway, call: &Call, pending: Seq, read: &Read) -> Option<Vec<Size>> {
    cost::enlarges(call.api.as_str())?;
    let answer = read.said().filter(|answer| cost::understood(answer))?;
    Some(sizes(gateway, call, pending, answer).await)
}

/// Tells the ledger what else the answer teaches. The client has its answer already, and a failure here is nothing to it.
pub(super) async fn learn(gateway: &Gateway, call: &Call, admitted: &Admitted, read: &Read) {
    let api = call.api.as_str();
    if !cost::teaches(api) || cost::enlarges(api).is_some() {
        return;
    }
    let Some(answer) = read.said() else { return };
    for size in sizes(gateway, call, admitted.pending, answer).await {
        let learn = Command::Learn { app: call.identity.app, size, call: admitted.pending };
        if let Err(error) = gateway.ledger.decide(learn).await {
            tracing::warn!(pending = admitted.pending, %error, "what an answer taught could not be written down");
        }
    }
}

async fn sizes(gateway: &Gateway, call: &Call, pending: Seq, answer: &Bytes) -> Vec<Size> {
    let answer = answer.clone();
    let body =
        if cost::needs_body(call.api.as_str()) { call.body.bytes(cost::BODY_MAX).await } else { Ok(None) };
    let body = body.unwrap_or_else(|error| {
        tracing::warn!(pending, %error, "a request body could not be read again");
        None
    });
    let lessons = if answer.len() + body.as_ref().map_or(0, Bytes::len) > INLINE_MAX {
        let (api, query) = (call.api.as_str().to_owned(), call.query.clone());
        let parsed = move || cost::lessons(&api, &query, body.as_deref(), &answer);
        tokio::task::spawn_blocking(parsed).await.unwrap_or_default()
    } else {
        cost::lessons(call.api.as_str(), &call.query, body.as_deref(), &answer)
    };
    let sizes = |app: &App, hasher: &Hasher<'_>| {
        lessons.into_iter().filter_map(|lesson| size(lesson, app, hasher)).collect()
    };
    in_corp(gateway, call.identity, sizes).unwrap_or_default()
}

fn size(lesson: Lesson, app: &App, hasher: &Hasher<'_>) -> Option<Size> {
    Some(match lesson {
        Lesson::Department { id, with_children, members } => {
            Size::Department { id, with_children, members: u64::from(members) }
        }
        Lesson::Tree { root, parents } => Size::Tree { root, departments: parents },
        Lesson::Tag { id, users, parties } => Size::Tag { id, members: u64::from(users), parties },
        Lesson::TagGrown { id, users, parties } => Size::TagGrown { id, members: u64::from(users), parties },
        Lesson::Chat { chat, members } => {
            let hashes = hasher.members(&members);
            Size::Chat { chat: hasher.chat(&chat), members: hashes.len() as u64, hashes }
        }
        Lesson::ChatChange { chat, added, removed } => {
            let (added, removed) = (hasher.members(&added), hasher.members(&removed));
            Size::ChatGrown { chat: hasher.chat(&chat), by: added.len() as u64, added, removed }
        }
        // Another app's scope is nothing to this one.
        Lesson::AppScope { agent_id, users, parties, tags } => (app.agent_id == agent_id.to_string())
            .then_some(Size::Scope { users: users.len() as u64, parties, tags })?,
        Lesson::Joined { departments } => Size::Joined { departments: departments.len() as u64 },
        Lesson::Moved { departments } => Size::Moved { into: departments },
        Lesson::DepartmentsChanged => Size::DepartmentsChanged,
        Lesson::DepartmentsGrown => Size::DepartmentsGrown,
        Lesson::TagsChanged => Size::TagsChanged,
        Lesson::ChatsChanged => Size::ChatsChanged,
        Lesson::ScopesChanged => Size::ScopesChanged,
    })
}
