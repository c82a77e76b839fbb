//! The parts of answers that teach something. A field of another kind than here makes the answer teach nothing.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::json::Value;

/// The number of a department, a tag or an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(pub u64);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        value.id().map(Self).ok_or_else(|| D::Error::custom("expected an id"))
    }
}

/// An errcode that is there and is 0.
#[derive(Debug)]
pub(super) struct Zero;

impl<'de> Deserialize<'de> for Zero {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Id(code) = Id::deserialize(deserializer)?;
        if code == 0 { Ok(Self) } else { Err(D::Error::custom("the call failed")) }
    }
}

pub(super) fn ids(list: Vec<Id>) -> Vec<u64> {
    let mut ids: Vec<u64> = list.into_iter().map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[derive(Debug, Deserialize)]
pub(super) struct Succeeded {
    #[serde(rename = "errcode")]
    _errcode: Zero,
}

#[derive(Debug, Deserialize)]
pub(super) struct Members {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    pub userlist: Vec<Listed>,
}

/// A member in a list, with the departments that the app may see.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    pub department: Vec<Id>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Departments {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    #[serde(rename = "department", alias = "department_id")]
    pub list: Vec<Department>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Department {
    pub id: Id,
    pub parentid: Id,
}

#[derive(Debug, Deserialize)]
pub(super) struct Created {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    pub id: Id,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    pub userlist: Vec<Listed>,
    #[serde(default)]
    pub partylist: Vec<Id>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NewChat {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    pub chatid: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct Chat {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    pub chat_info: ChatInfo,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChatInfo {
    pub chatid: Value,
    pub userlist: Value,
    #[serde(default)]
    pub owner: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct App {
    #[serde(rename = "errcode")]
    _errcode: Zero,
    pub agentid: Id,
    #[serde(default)]
    pub allow_userinfos: AllowedUsers,
    #[serde(default)]
    pub allow_partys: AllowedParties,
    #[serde(default)]
    pub allow_tags: AllowedTags,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct AllowedUsers {
    #[serde(default)]
    pub user: Vec<AllowedUser>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AllowedUser {
    pub userid: Value,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct AllowedParties {
    #[serde(default)]
    pub partyid: Vec<Id>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct AllowedTags {
    #[serde(default)]
    pub tagid: Vec<Id>,
}
