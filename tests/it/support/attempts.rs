//! The ledger's view of calls: what was tried, and how each attempt ended.

use serde_json::Value;

use super::Entry;

/// One attempt that reached WeCom, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub seq: u64,
    pub api: String,
    pub retry_of: Option<u64>,
    /// The credential that it carried.
    pub credential: Option<u64>,
    /// The kind of the entry that ended it.
    pub end: String,
    pub errcode: Option<i64>,
    /// What the entry that ended it says besides.
    pub reason: Option<String>,
}

/// The attempts in the order in which they were admitted. Fails if one has no end, or two.
pub fn attempts(entries: &[Entry]) -> Vec<Attempt> {
    let pendings = entries.iter().filter(|entry| entry["kind"] == "call.pending");
    pendings.map(|pending| attempt(pending, entries)).collect()
}

fn attempt(pending: &Value, entries: &[Entry]) -> Attempt {
    let is_end = |entry: &&Entry| {
        entry["kind"].as_str().is_some_and(|kind| kind.starts_with("call."))
            && entry["pending_seq"] == pending["seq"]
    };
    let ends: Vec<_> = entries.iter().filter(is_end).collect();
    let [end] = ends[..] else { panic!("{pending} ended {} times: {ends:?}", ends.len()) };
    assert_eq!(end["api"], pending["api"]);
    Attempt {
        seq: pending["seq"].as_u64().unwrap(),
        api: pending["api"].as_str().unwrap().to_owned(),
        retry_of: pending["retry_of"].as_u64(),
        credential: pending["credential_seq"].as_u64(),
        end: end["kind"].as_str().unwrap().to_owned(),
        errcode: end["errcode"].as_i64(),
        reason: end["reason"].as_str().map(str::to_owned),
    }
}
