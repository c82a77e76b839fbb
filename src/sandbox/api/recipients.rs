//! Who a message goes to.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::sandbox::directory::Directory;

/// The members, each once, and what was not found, joined with `|` as in the answer.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    pub members: Vec<Arc<str>>,
    pub invalid_users: String,
    pub invalid_parties: String,
    pub invalid_tags: String,
}

/// A list field: `a|b`, with spaces allowed around its entries. Party and tag ids also come as numbers.
fn list(body: &Value, name: &str, max: usize, too_long: i32) -> Result<Vec<String>, i32> {
    let text = match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Ok(Vec::new()),
    };
    let entries: Vec<String> =
        text.split('|').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
    if entries.len() > max { Err(too_long) } else { Ok(entries) }
}

/// Applies the rules of message/send; the error is its errcode.
pub(super) fn resolve(directory: &Directory, body: &Value) -> Result<Recipients, i32> {
    let users = list(body, "touser", 1000, 40032)?;
    if users == ["@all"] {
        // Then the parties and tags are ignored, right or wrong.
        return Ok(Recipients {
            members: directory.members.keys().cloned().collect(),
            ..Recipients::default()
        });
    }
    let parties = list(body, "toparty", 100, 82002)?;
    let tags = list(body, "totag", 100, 82003)?;
    if users.is_empty() && parties.is_empty() && tags.is_empty() {
        let named = ["touser", "toparty", "totag"].iter().any(|name| body.get(name).is_some());
        return Err(if named { 82001 } else { 81012 });
    }
    let mut found = Found { directory, members: BTreeSet::new(), any: false };
    let recipients = Recipients {
        invalid_users: invalid(&users, |id| found.user(id)),
        invalid_parties: invalid(&parties, |id| found.party(id)),
        invalid_tags: invalid(&tags, |id| found.tag(id)),
        members: Vec::new(),
    };
    if !found.any {
        return Err(81013);
    }
    Ok(Recipients { members: found.members.into_iter().collect(), ..recipients })
}

/// The entries for which `take` answers false; WeCom gives ids back in lower case.
fn invalid(entries: &[String], mut take: impl FnMut(&str) -> bool) -> String {
    entries.iter().filter(|id| !take(id)).map(|id| id.to_lowercase()).collect::<Vec<_>>().join("|")
}

struct Found<'a> {
    directory: &'a Directory,
    members: BTreeSet<Arc<str>>,
    /// Whether anything named exists, though it may be an empty department.
    any: bool,
}

impl Found<'_> {
    fn user(&mut self, id: &str) -> bool {
        let Some((id, _)) = self.directory.find(id) else { return false };
        self.any = true;
        self.members.insert(id.clone());
        true
    }

    fn party(&mut self, id: &str) -> bool {
        let Some(id) = id.parse().ok().filter(|id| self.directory.departments.contains_key(id)) else {
            return false;
        };
        self.any = true;
        self.members.extend(self.directory.members_of(id, true).map(|(id, _)| id.clone()));
        true
    }

    fn tag(&mut self, id: &str) -> bool {
        let Some(tag) = id.parse().ok().and_then(|id: u32| self.directory.tags.get(&id)) else {
            return false;
        };
        self.any = true;
        self.members.extend(tag.users.iter().cloned());
        for party in &tag.parties {
            self.members.extend(self.directory.members_of(*party, true).map(|(id, _)| id.clone()));
        }
        true
    }
}
