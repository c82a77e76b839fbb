//! `key …`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::datadir::{Opened, create_api_key};
use crate::ledger::canonical::instant;
use crate::ledger::command::{ApiKeyChange, ApiKeyEdit, ApiKeyTerms, OwnChange, OwnNumber};
use crate::ledger::directory::{ApiKey, Directory};
use crate::ledger::entry::{Priority, Scope};
use crate::ledger::{Command, Seq};
use crate::quota::Own;

use super::args::{Key, KeyChange, NewKey, SetKey};
use super::table::table;
use super::{Answer, Failure, act, new_key};

pub(super) async fn create(opened: &Opened, key: NewKey) -> Result<Answer, Failure> {
    let NewKey { name, scopes, apps, apis, priority, own, max_share } = key;
    let everywhere = apps.is_empty() && scopes.contains(&Scope::Call);
    let apps = apps.iter().map(ToString::to_string).collect();
    let own = own.into_iter().chain(max_share).collect();
    let terms = ApiKeyTerms { name, scopes, apps, apis, priority, own };
    let key = create_api_key(&opened.ledger, &opened.vault, terms).await?;
    let mut hint = "This API key is shown only now, so keep it safe.".to_owned();
    if everywhere {
        hint.push_str(
            "\nIt may act for every app. To stand for one app, as a corpsecret does, it needs --app.",
        );
    }
    Ok(new_key(&key)?.hint(hint))
}

pub(super) async fn change(opened: &Opened, change: Key) -> Result<Answer, Failure> {
    let (api_key, change, what) = match change {
        Key::Revoke { id } => (id, ApiKeyChange::Revoke, "is revoked, for ever".to_owned()),
        Key::Pause { id } => (id, ApiKeyChange::Pause, "is paused".to_owned()),
        Key::Resume { id } => (id, ApiKeyChange::Resume, "is active again".to_owned()),
        Key::Set(SetKey { id, change }) => {
            let KeyChange { priority, own, max_share } = change;
            let own: Vec<OwnChange> = own.into_iter().chain(max_share).collect();
            let mut what: Vec<String> =
                priority.iter().map(|priority| format!("has priority {}", priority.name())).collect();
            what.extend(own.iter().map(own_in_words));
            (id, ApiKeyChange::Set(ApiKeyEdit { priority, own }), what.join(", "))
        }
        Key::Create(_) | Key::List => return Err(Failure::Usage("this changes no API key".to_owned())),
    };
    act(opened, Command::SetApiKey { api_key, change }, format!("API key {api_key} {what}")).await
}

fn own_in_words(change: &OwnChange) -> String {
    let limit = &change.limit;
    match change.number {
        OwnNumber::Cap(Some(cap)) => format!("may use {cap} of {limit}"),
        OwnNumber::Cap(None) => format!("has no cap of its own in {limit}"),
        OwnNumber::MaxSharePercent(Some(percent)) => format!("may use {percent} % of {limit}"),
        OwnNumber::MaxSharePercent(None) => format!("may use {limit} as a whole"),
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    id: Seq,
    name: &'a str,
    status: &'static str,
    priority: Priority,
    scopes: &'a [Scope],
    /// Empty: every app.
    apps: Vec<String>,
    /// Empty: every API.
    apis: &'a [String],
    /// What it may use of single limits.
    own: Vec<Rule>,
    created_at: String,
}

/// Null where the key has no such number.
#[derive(Serialize)]
struct Rule {
    limit: String,
    cap: Option<u64>,
    max_share_percent: Option<u8>,
}

impl Rule {
    fn in_words(&self) -> String {
        let share = self.max_share_percent.map(|percent| format!("{percent}%"));
        let numbers: Vec<_> = self.cap.map(|cap| cap.to_string()).into_iter().chain(share).collect();
        format!("{}={}", self.limit, numbers.join(","))
    }
}

/// The own rules of every API key that has some.
async fn rules(opened: &Opened) -> Result<BTreeMap<Seq, Vec<Rule>>, Failure> {
    let rules = opened.ledger.read(|state, _| {
        let of = |&key: &Seq| {
            let rules = state.meters.owns_of(key).map(|(limit, own)| {
                let Own { cap, max_share_percent } = own;
                Rule { limit: limit.to_owned(), cap, max_share_percent }
            });
            (key, rules.collect())
        };
        state.directory.api_keys.keys().map(of).collect()
    });
    Ok(rules.await?)
}

pub(super) async fn list(opened: &Opened) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct List<'a> {
        api_keys: &'a [Listed<'a>],
    }
    let mut rules = rules(opened).await?;
    let directory = opened.ledger.directory();
    let mut listed = |(&id, key)| listed(&directory, id, key, rules.remove(&id).unwrap_or_default());
    let keys: Vec<_> = directory.api_keys.iter().map(&mut listed).collect();
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            let scopes: Vec<_> = Scope::NAMES
                .iter()
                .filter(|(_, scope)| key.scopes.contains(scope))
                .map(|(name, _)| *name)
                .collect();
            let all = |list: String, all: &str| if list.is_empty() { all.to_owned() } else { list };
            [
                key.id.to_string(),
                key.name.to_owned(),
                key.status.to_owned(),
                key.priority.name().to_owned(),
                scopes.join(","),
                all(key.apps.join(" "), "every app"),
                all(key.apis.join(" "), "every API"),
                all(key.own.iter().map(Rule::in_words).collect::<Vec<_>>().join(" "), "-"),
                key.created_at.clone(),
            ]
        })
        .collect();
    let columns = ["ID", "NAME", "STATUS", "PRIORITY", "SCOPES", "APPS", "APIS", "OWN RULES", "CREATED"];
    let text = table(columns, &rows);
    Answer::new(&List { api_keys: &keys }, text)
}

fn listed<'a>(directory: &Directory, id: Seq, key: &'a ApiKey, own: Vec<Rule>) -> Listed<'a> {
    let status = match (key.revoked, key.paused) {
        (true, _) => "revoked",
        (false, true) => "paused",
        (false, false) => "active",
    };
    Listed {
        id,
        name: &key.name,
        status,
        priority: key.priority,
        scopes: &key.scopes,
        apps: key.apps.iter().filter_map(|&app| directory.app_label(app)).collect(),
        apis: &key.apis,
        own,
        created_at: instant(key.created_at),
    }
}
