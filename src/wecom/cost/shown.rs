//! What an answer shows of the recipients that were asked for.

use super::ids::{distinct, groups, list, split, userids};
use super::json::{Value, fields};
use super::{GROUPS_MAX, USERS_MAX, Unreadable};

/// What the answer shows was not sent. It may name more than was asked for: take off only what was counted. An answer
/// that can't be read shows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// There is an errcode, and it is not 0. Where all recipients are invalid it is 81013; where only some are, it is 0.
    pub failed: bool,
    /// As in the demand: in lower case, each once, sorted.
    pub invalid_users: Vec<String>,
    /// Members in the app's scope, but without a licence for it.
    pub unlicensed_users: Vec<String>,
    pub invalid_others: u32,
    pub invalid_parties: Vec<u64>,
    pub invalid_tags: Vec<u64>,
    /// Among the groups whose size is unknown.
    pub invalid_unknown_groups: u32,
}

/// Reads the answer to a request to this API.
pub fn shown(api: &str, answer: &[u8]) -> Shown {
    let read = match api {
        "message/send" | "linkedcorp/message/send" => to_members(answer),
        "externalcontact/message/send" => to_parents(answer),
        _ => fields(answer, ["errcode"])
            .map(|[errcode]| Shown { failed: failed(&errcode), ..Shown::default() }),
    };
    read.unwrap_or_default()
}

fn to_members(answer: &[u8]) -> Result<Shown, Unreadable> {
    let names = ["errcode", "invaliduser", "unlicenseduser", "invalidparty", "invalidtag"];
    let [errcode, users, unlicensed, parties, tags] = fields(answer, names)?;
    let mut unknown = 0;
    Ok(Shown {
        failed: failed(&errcode),
        invalid_users: userids(&either(&users)).unwrap_or_default(),
        unlicensed_users: userids(&either(&unlicensed)).unwrap_or_default(),
        invalid_parties: groups(&either(&parties), &mut unknown).unwrap_or_default(),
        invalid_tags: groups(&either(&tags), &mut unknown).unwrap_or_default(),
        invalid_unknown_groups: unknown,
        invalid_others: 0,
    })
}

fn to_parents(answer: &[u8]) -> Result<Shown, Unreadable> {
    let names = [
        "errcode",
        "invalid_party",
        "invalid_external_user",
        "invalid_parent_userid",
        "invalid_student_userid",
    ];
    let [errcode, classes, people @ ..] = fields(answer, names)?;
    let count = |value, max| distinct(either(value), max).map_or(0, |entries| entries.len() as u32);
    Ok(Shown {
        failed: failed(&errcode),
        invalid_others: people.iter().map(|named| count(named, USERS_MAX)).sum(),
        invalid_unknown_groups: count(&classes, GROUPS_MAX),
        ..Shown::default()
    })
}

/// A list in either form; one that can't be read is empty, so that nothing is given back for it.
fn either(value: &Value) -> Vec<String> {
    list(value).or_else(|_| split(value)).unwrap_or_default()
}

fn failed(errcode: &Value) -> bool {
    match errcode {
        Value::Number(code) => *code != 0,
        Value::Text(code) => code.trim().parse::<i64>().is_ok_and(|code| code != 0),
        _ => false,
    }
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
