//! What a query names must be known: an empty answer to a slip of the pen would look like "nothing happened".

use crate::ledger::Seq;
use crate::ledger::directory::Directory;
use crate::wecom::catalogue;

use super::params::invalid;
use super::problem::Problem;

/// Also one that was removed: its entries remain.
pub(super) fn corp(directory: &Directory, corp_id: &str) -> Result<Seq, Problem> {
    let found = directory.corps.iter().find(|(_, corp)| corp.corp_id == corp_id);
    found.map(|(&seq, _)| seq).ok_or_else(|| unknown("corp", corp_id))
}

/// Also one that was removed.
pub(super) fn app(directory: &Directory, label: &str) -> Result<Seq, Problem> {
    let Some((corp_id, agent_id)) = label.split_once('/') else {
        return Err(invalid(format!("app must be CORP_ID/AGENT_ID, not `{label}`")));
    };
    let corp = corp(directory, corp_id)?;
    let found = directory.apps.iter().find(|(_, app)| app.corp == corp && app.agent_id == agent_id);
    found.map(|(&seq, _)| seq).ok_or_else(|| unknown("app", label))
}

/// None: WeCom has it, but nobody has called it yet.
pub(super) fn api(directory: &Directory, name: &str) -> Result<Option<Seq>, Problem> {
    match directory.api(name) {
        None if catalogue::lookup(name).is_none() => Err(unknown("api", name)),
        found => Ok(found),
    }
}

/// Also one that was revoked.
pub(super) fn key(directory: &Directory, key: Seq) -> Result<Seq, Problem> {
    if directory.api_keys.contains_key(&key) { Ok(key) } else { Err(unknown("key", &key.to_string())) }
}

pub(super) fn unknown(what: &str, name: &str) -> Problem {
    invalid(format!("{what} `{name}` is unknown"))
}
