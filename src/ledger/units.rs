//! What a call costs beyond being a call, and whom it reaches, as the `detail` of its row has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::quota::Cost;

use super::entry::{People, Target};

/// The units other than calls; most calls take none of them.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Units {
    #[serde(default, skip_serializing_if = "is_zero")]
    person_times: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    accounts: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    apps: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    domains: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    reads: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Units {
    /// None: the cost is in calls alone.
    pub(super) fn of(cost: Cost) -> Option<Self> {
        let Cost { calls: _, person_times, accounts, apps, domains, reads } = cost;
        let units = Self { person_times, accounts, apps, domains, reads };
        (Cost { calls: 0, ..cost } != Cost::default()).then_some(units)
    }

    pub(super) fn cost(&self, calls: u64) -> Cost {
        let Self { person_times, accounts, apps, domains, reads } = *self;
        Cost { calls, person_times, accounts, apps, domains, reads }
    }
}

/// Eight bytes a member, base64: a message to a thousand is 11 kB.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct TargetDetail {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    members: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    broadcast: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    chat: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    people: Option<PeopleDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unread: Option<String>,
}

/// A type of its own, because `People` is part of snapshots, whose format can't leave anything out.
#[derive(Serialize, Deserialize, Default)]
struct PeopleDetail {
    users: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parties: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    unreadable: u64,
}

impl PeopleDetail {
    fn of(people: &People) -> Self {
        let People { users, parties, tags, unreadable } = people.clone();
        Self { users, parties, tags, unreadable }
    }

    fn people(&self) -> People {
        let Self { users, parties, tags, unreadable } = self;
        People { users: *users, parties: parties.clone(), tags: tags.clone(), unreadable: *unreadable }
    }
}

impl TargetDetail {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            members: text_of(&target.members),
            broadcast: target.broadcast,
            chat: if target.chat == 0 { String::new() } else { format!("{:016x}", target.chat) },
            people: target.people.as_ref().map(PeopleDetail::of),
            unread: target.unread.clone(),
        }
    }

    pub(super) fn target(&self) -> Option<Target> {
        let chat = if self.chat.is_empty() { 0 } else { u64::from_str_radix(&self.chat, 16).ok()? };
        let people = self.people.as_ref().map(PeopleDetail::people);
        let (broadcast, unread) = (self.broadcast, self.unread.clone());
        Some(Target { members: hashes_of(&self.members)?, broadcast, chat, people, unread })
    }
}

/// Hashes of members as text.
pub(super) fn text_of(hashes: &[u64]) -> String {
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect();
    STANDARD_NO_PAD.encode(bytes)
}

pub(super) fn hashes_of(text: &str) -> Option<Vec<u64>> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let (hashes, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| hashes.iter().map(|hash| u64::from_be_bytes(*hash)).collect())
}
