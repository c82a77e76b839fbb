//! Lists of ids, in the forms in which WeCom takes and gives them.

use std::collections::BTreeSet;

use super::json::Value;
use super::{GROUPS_MAX, USERS_MAX, Unreadable};

/// Longer than any id: a member's has 64 bytes at most, a linked corp's id before it 18.
pub(super) const ID_MAX: usize = 128;

/// Longer than any list in one text.
const TEXT_MAX: usize = USERS_MAX * (ID_MAX + 3);

/// The entries of `a|b`.
pub(super) fn split(value: &Value) -> Result<Vec<String>, Unreadable> {
    let Some(text) = entry(value)? else { return Ok(Vec::new()) };
    if text.len() > TEXT_MAX {
        return Err(Unreadable::TooMany);
    }
    Ok(text.split('|').map(trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
}

/// The entries of `["a","b"]`.
pub(super) fn list(value: &Value) -> Result<Vec<String>, Unreadable> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::List(list) => list.iter().filter_map(|value| entry(value).transpose()).collect(),
        _ => Err(Unreadable::Form),
    }
}

/// An id as text, which some write as a number.
pub(super) fn entry(value: &Value) -> Result<Option<String>, Unreadable> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Text(text) => Ok(Some(trim(text)).filter(|text| !text.is_empty()).map(str::to_owned)),
        Value::Flag(_) | Value::List(_) | Value::Other => Err(Unreadable::Form),
    }
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c.is_control())
}

pub(super) fn userids(entries: &[String]) -> Result<Vec<String>, Unreadable> {
    let users = entries.iter().map(|user| user.to_ascii_lowercase()).collect();
    distinct(users, USERS_MAX).map(|users| users.into_iter().collect())
}

/// The departments or tags among the entries; what is no number is counted in `unknown`.
pub(super) fn groups(entries: &[String], unknown: &mut u32) -> Result<Vec<u64>, Unreadable> {
    let entries = distinct(entries.to_vec(), GROUPS_MAX)?;
    let numbers: BTreeSet<u64> = entries.iter().filter_map(|entry| entry.parse().ok()).collect();
    *unknown += entries.iter().filter(|entry| entry.parse::<u64>().is_err()).count() as u32;
    Ok(numbers.into_iter().collect())
}

pub(super) fn distinct(entries: Vec<String>, max: usize) -> Result<BTreeSet<String>, Unreadable> {
    if entries.iter().any(|entry| entry.len() > ID_MAX) {
        return Err(Unreadable::Form);
    }
    let entries: BTreeSet<String> = entries.into_iter().collect();
    if entries.len() > max { Err(Unreadable::TooMany) } else { Ok(entries) }
}
