//! `key …`.

use serde::Serialize;

use crate::datadir::{Opened, create_api_key};
use crate::ledger::canonical::instant;
use crate::ledger::command::ApiKeyChange;
use crate::ledger::directory::{ApiKey, Directory};
use crate::ledger::entry::{ApiKeySet, Priority, Scope};
use crate::ledger::{Command, Seq};

use super::args::{Key, KeyChange, NewKey, SetKey};
use super::table::table;
use super::{Answer, Failure, act, new_key};

pub(super) async fn create(opened: &Opened, key: NewKey) -> Result<Answer, Failure> {
    let NewKey { name, scopes, apps, apis, priority } = key;
    let everywhere = apps.is_empty() && scopes.contains(&Scope::Call);
    let apps = apps.iter().map(ToString::to_string).collect();
    let key = create_api_key(&opened.ledger, &opened.vault, &name, scopes, apps, apis, priority).await?;
    let mut hint = "This API key is shown only now, so keep it safe.".to_owned();
    if everywhere {
        hint.push_str(
            "\nIt may act for every app. To stand for one app, as a corpsecret does, it needs --app.",
        );
    }
    Ok(new_key(&key)?.hint(hint))
}

pub(super) async fn change(opened: &Opened, change: &Key) -> Result<Answer, Failure> {
    let (api_key, change, what) = match *change {
        Key::Revoke { id } => (id, ApiKeyChange::Revoke, "is revoked, for ever".to_owned()),
        Key::Pause { id } => (id, ApiKeyChange::Pause, "is paused".to_owned()),
        Key::Resume { id } => (id, ApiKeyChange::Resume, "is active again".to_owned()),
        Key::Set(SetKey { id, change: KeyChange { priority } }) => {
            let what = priority.map(|priority| format!("has priority {}", priority.name()));
            (id, ApiKeyChange::Set(ApiKeySet { priority }), what.unwrap_or_default())
        }
        Key::Create(_) | Key::List => return Err(Failure::Usage("this changes no API key".to_owned())),
    };
    act(opened, Command::SetApiKey { api_key, change }, format!("API key {api_key} {what}")).await
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
    created_at: String,
}

pub(super) fn list(opened: &Opened) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct List<'a> {
        api_keys: &'a [Listed<'a>],
    }
    let directory = opened.ledger.directory();
    let keys: Vec<_> = directory.api_keys.iter().map(|(&id, key)| listed(&directory, id, key)).collect();
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
                key.created_at.clone(),
            ]
        })
        .collect();
    let text = table(["ID", "NAME", "STATUS", "PRIORITY", "SCOPES", "APPS", "APIS", "CREATED"], &rows);
    Answer::new(&List { api_keys: &keys }, text)
}

fn listed<'a>(directory: &Directory, id: Seq, key: &'a ApiKey) -> Listed<'a> {
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
        created_at: instant(key.created_at),
    }
}
