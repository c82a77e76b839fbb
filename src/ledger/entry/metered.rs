//! What entries about limits carry: sizes that bound a cost, usage that no call shows, and WeCom's own blocks.

use serde::{Deserialize, Serialize};

use crate::quota::Rule;

use super::Seq;

/// How many members something has, which bounds what a message to it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeLearned {
    #[serde(flatten)]
    pub size: Size,
    /// The call whose answer said so; none where an operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_seq: Option<Seq>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Size {
    /// Of the department alone, or with all below it.
    Department { id: u64, with_children: bool, members: u64 },
    /// Departments, each with its parent: `root` and all below it, or all that the app sees.
    Tree {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<u64>,
        departments: Vec<(u64, u64)>,
    },
    /// Members that a tag names one by one, and the departments that it names.
    Tag { id: u64, members: u64, parties: Vec<u64> },
    /// A tag got up to so many members more, and these departments.
    TagGrown { id: u64, members: u64, parties: Vec<u64> },
    /// A group chat, by its keyed hash. `hashes` are its members, where a limit tells them apart.
    Chat {
        #[serde(with = "hex_u64")]
        chat: u64,
        members: u64,
        #[serde(with = "hex_list", default, skip_serializing_if = "Vec::is_empty")]
        hashes: Vec<u64>,
    },
    /// Members were added to a group chat, or removed from it: it may have as many more now as were added. Who they
    /// are stands here where a limit tells them apart.
    ChatGrown {
        #[serde(with = "hex_u64")]
        chat: u64,
        by: u64,
        #[serde(with = "hex_list", default, skip_serializing_if = "Vec::is_empty")]
        added: Vec<u64>,
        #[serde(with = "hex_list", default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<u64>,
    },
    /// Everybody whom the app can see, as an operator says.
    Everyone { members: u64 },
    /// Everybody whom the app can see: so many members, and those of these departments and tags.
    Scope { users: u64, parties: Vec<u64>, tags: Vec<u64> },
    /// An account was created, in so many departments.
    Joined { departments: u64 },
    /// A member is in these departments now, and may have been in others before.
    Moved { into: Vec<u64> },
    /// Members were moved: what was learned of departments is not certain any more.
    DepartmentsChanged,
    /// Departments were moved or people imported: nobody knows how many came, so declared sizes are not certain either.
    DepartmentsGrown,
    /// Tags got members or departments, nobody knows which: what was learned of tags is not certain any more.
    TagsChanged,
    /// The same of group chats.
    ChatsChanged,
    /// The same of apps' scopes.
    ScopesChanged,
}

/// Usage that no call shows: an import that creates accounts, an app that was created, an article that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageDeclared {
    pub unit: crate::quota::Unit,
    /// Below zero it takes back, which only a `total` can.
    pub amount: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Keyed hash of the article that was read; 0: it is about none.
    #[serde(with = "hex_u64", default, skip_serializing_if = "is_none")]
    pub article: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_none(hash: &u64) -> bool {
    *hash == 0
}

/// WeCom said that a limit is used up, and blocks for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PenaltyStarted {
    pub level: PenaltyLevel,
    pub blocks: Blocks,
    /// That corp, app or egress IP.
    pub whose: Seq,
    pub until_tick: i64,
    /// A column of its own.
    #[serde(skip)]
    pub errcode: i64,
    /// The refused call, whose entry has WeCom's words; or the refused fetch.
    pub call_seq: Seq,
    /// A client says so, which made the call itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ip: Option<String>,
    /// The limit that is most likely meant: the one that we counted fullest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What we had counted at that moment, in every limit that the call matches.
    pub counted: Vec<Counted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub limit: String,
    pub used: u64,
    pub cap: u64,
    /// The part of `used` that had no outcome yet, the refused call among it: WeCom had not let it through for sure.
    #[serde(default)]
    pub in_flight: u64,
    /// Whose number `cap` is.
    #[serde(default)]
    pub rule: Rule,
}

/// How long WeCom blocks, by the window that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PenaltyLevel {
    /// Too many at the same time (45033): no time is documented.
    Concurrent,
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// The rest of the natural day.
    Day,
    /// 30 days.
    Month,
}

impl PenaltyLevel {
    pub fn name(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// Whose calls of the API are held back: the key of the limit that is most likely meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    Corp,
    App,
    EgressIp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PenaltyEnded {
    /// The `penalty.started` entry.
    pub started: Seq,
    /// `probe_passed` or `cleared`.
    pub reason: String,
    /// WeCom was full long before we were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// WeCom said that a limit is used up while we had counted clearly less than its cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The `penalty.started` entry of the refusal with which it began.
    pub incident: Seq,
    pub limit: String,
    pub cap: u64,
    /// What WeCom had let through of our calls.
    pub accepted: u64,
}

/// WeCom was full early again and again: for one key of a limit a lower cap holds from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapLearned {
    pub limit: String,
    pub cap: u64,
    /// What held before.
    pub before: u64,
    /// Why: the largest `accepted` of them is the cap.
    pub drifts: Vec<Drift>,
}

/// An operator knows better: the cap that was learned holds no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapRestored {
    /// The `cap.learned` entry.
    pub learned: Seq,
}

/// A limit is used up to a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRaised {
    pub limit: String,
    pub percent: u8,
    pub used: u64,
    pub cap: u64,
    /// The same is not raised again before.
    pub again_tick: i64,
    /// The limit is only tried: it refuses nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Where the limit tells egress IPs apart; 0: it does not.
    #[serde(default, skip_serializing_if = "is_none")]
    pub egress_ip: Seq,
    /// Keyed hash of the group chat or group robot, likewise.
    #[serde(with = "hex_u64", default, skip_serializing_if = "is_none")]
    pub chat: u64,
}

/// The webhook has done with every alert up to this entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookDelivered {
    pub through: Seq,
    /// The receiver refused this last one again and again, and how: it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Eight bytes as hex, since JSON's numbers do not hold them everywhere.
mod hex_u64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
    pub fn serialize<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{value:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom("expected 16 hex digits"))
    }
}

/// Many of them, base64.
mod hex_list {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ledger::units::{hashes_of, text_of};

    pub fn serialize<S: Serializer>(hashes: &[u64], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&text_of(hashes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u64>, D::Error> {
        let text = String::deserialize(d)?;
        hashes_of(&text).ok_or_else(|| D::Error::custom("expected base64 of eight bytes each"))
    }
}
