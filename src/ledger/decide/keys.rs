//! API keys: what they may do, and how much of single limits they may use.

use std::collections::BTreeMap;

use crate::ledger::command::{ApiKeyChange, ApiKeyEdit, ApiKeyTerms, OwnChange, OwnNumber, Rejected, Reply};
use crate::ledger::entry::{ApiKeyCreated, ApiKeySet, Body, Fingerprint, OwnRule, Refs, Seq};
use crate::ledger::state::State;
use crate::quota::Own;
use crate::quota::limit::MAX_CAP;

use super::{Decision, unchanged};

const NAME_MAX: usize = 100;
/// Own rules of one API key.
pub const OWN_RULES_MAX: usize = 64;

pub(super) fn create(state: &State, terms: ApiKeyTerms, fingerprint: Fingerprint) -> Decision {
    let ApiKeyTerms { name, mut scopes, apps, apis, priority, own } = terms;
    let printable =
        !name.trim().is_empty() && name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control);
    if !printable {
        return Decision::invalid(format!("a key needs a name of 1 to {NAME_MAX} printable characters"));
    }
    if scopes.is_empty() {
        return Decision::invalid("a key needs at least one scope, e.g. --scope call");
    }
    if apis.len() > 100 || apis.iter().any(|api| api.is_empty() || api.len() > 128) {
        return Decision::invalid("at most 100 APIs of 1 to 128 characters each");
    }
    scopes.sort_unstable();
    scopes.dedup();
    let mut refs = Vec::new();
    for label in &apps {
        let found = label.split_once('/').and_then(|(corp, agent)| state.directory.app(corp, agent));
        match found {
            Some((seq, _)) => refs.push(seq),
            None => {
                return Decision::not_found(format!(
                    "app `{label}` is unknown; name it CORP_ID/AGENT_ID as `app list` shows it"
                ));
            }
        }
    }
    refs.sort_unstable();
    refs.dedup();
    let own = match own_rules(state, None, own) {
        Ok(own) => own,
        Err(decision) => return decision,
    };
    let seq = state.head + 1;
    let created = ApiKeyCreated { name, scopes, apps: refs, apis, fingerprint, priority, own };
    let refs = Refs { api_key: Some(seq), ..Refs::default() };
    Decision::one(refs, Body::ApiKeyCreated(created), Reply::Done { seq, changed: true })
}

pub(super) fn change(state: &State, api_key: Seq, change: ApiKeyChange) -> Decision {
    let Some(key) = state.directory.api_keys.get(&api_key) else {
        return Decision::not_found(format!("there is no API key {api_key}; `key list` shows all"));
    };
    if key.revoked && change != ApiKeyChange::Revoke {
        let what = format!("API key {api_key} was revoked, and that is final; create another one");
        return Decision::rejected(Rejected::Conflict(what));
    }
    let (body, changes) = match change {
        ApiKeyChange::Revoke => (Body::ApiKeyRevoked, !key.revoked),
        ApiKeyChange::Pause => (Body::ApiKeyPaused, !key.paused),
        ApiKeyChange::Resume => (Body::ApiKeyResumed, key.paused),
        ApiKeyChange::Set(ApiKeyEdit { priority, own }) => {
            let priority = priority.filter(|priority| *priority != key.priority);
            match own_rules(state, Some(api_key), own) {
                Ok(own) => {
                    let changes = priority.is_some() || !own.is_empty();
                    (Body::ApiKeySet(ApiKeySet { priority, own }), changes)
                }
                Err(decision) => return decision,
            }
        }
    };
    if !changes {
        return unchanged(api_key);
    }
    let refs = Refs { api_key: Some(api_key), ..Refs::default() };
    Decision::one(refs, body, Reply::Done { seq: api_key, changed: true })
}

/// The rules that are not what they were, as they will be. `api_key`: one that is there, and may have some.
fn own_rules(state: &State, api_key: Option<Seq>, changes: Vec<OwnChange>) -> Result<Vec<OwnRule>, Decision> {
    let before: BTreeMap<&str, Own> =
        api_key.into_iter().flat_map(|api_key| state.meters.owns_of(api_key)).collect();
    let mut after: BTreeMap<String, OwnRule> = BTreeMap::new();
    for OwnChange { limit, number } in changes {
        let known = before.get(&*limit).copied();
        check_limit(state, &limit, known.is_some())?;
        check_number(number)?;
        let rule = after.entry(limit).or_insert_with_key(|limit| OwnRule::new(limit, known));
        match number {
            OwnNumber::Cap(cap) => rule.cap = cap,
            OwnNumber::MaxSharePercent(percent) => rule.max_share_percent = percent,
        }
    }
    after.retain(|limit, rule| rule.own() != before.get(&**limit).copied());
    let untouched = before.keys().filter(|limit| !after.contains_key(**limit)).count();
    if untouched + after.values().filter(|rule| rule.own().is_some()).count() > OWN_RULES_MAX {
        let what = format!("an API key has rules of its own for at most {OWN_RULES_MAX} limits");
        return Err(Decision::invalid(what));
    }
    Ok(after.into_values().collect())
}

/// `has_rule`: the key has a rule for it already, which may be of another profile.
fn check_limit(state: &State, limit: &str, has_rule: bool) -> Result<(), Decision> {
    let counts_calls = || state.meters.limits().filter(|limit| !limit.apis.is_empty());
    if has_rule || counts_calls().any(|known| *known.name == *limit) {
        return Ok(());
    }
    let known: Vec<&str> = counts_calls().map(|limit| &*limit.name).collect();
    Err(Decision::invalid(format!(
        "`{limit}` is not a limit of the active profile that counts calls; use one of: {}",
        known.join(", ")
    )))
}

fn check_number(number: OwnNumber) -> Result<(), Decision> {
    match number {
        OwnNumber::Cap(Some(cap)) if !(1..=MAX_CAP).contains(&cap) => Err(Decision::invalid(format!(
            "an API key's own cap is 1 to {MAX_CAP}; to refuse every call of a key, pause it: key pause"
        ))),
        OwnNumber::MaxSharePercent(Some(percent)) if !(1..=100).contains(&percent) => {
            let what = "an API key's share of a limit is 1 to 100 percent; to refuse every call of a key, pause it: \
                        key pause";
            Err(Decision::invalid(what))
        }
        _ => Ok(()),
    }
}
