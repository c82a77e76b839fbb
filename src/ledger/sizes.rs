//! How many members departments, tags and group chats have, as far as the ledger knows: from answers that passed
//! through, or declared by an operator. An upper bound is what matters; where nothing is known, the caller takes the
//! corp's whole account cap.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::{Seq, Size};

/// What was learned from an answer holds this long: members come and go without our seeing it.
pub const LEARNED_FOR_MS: i64 = 24 * 3_600_000;

/// Sizes that are kept, of all corps together. A further one is not learned. Each takes about 100 bytes, and a group
/// chat 8 bytes for each member where a limit tells members apart.
pub const SIZES_MAX: usize = 100_000;
const CHAT_HASHES_MAX: usize = 2_000_000;

/// A department tree is not followed deeper, nor a cycle in it for ever.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    corps: BTreeMap<Seq, CorpSizes>,
    kept: usize,
    hashes: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct CorpSizes {
    departments: BTreeMap<u64, Department>,
    tags: BTreeMap<u64, Tag>,
    chats: BTreeMap<u64, Chat>,
    /// By app: what it can see.
    everyone: BTreeMap<Seq, Known>,
    /// Members who may have come in anywhere since the ledger began.
    joined: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    members: u64,
    tick: i64,
    /// `joined` at that time.
    joined: u64,
    declared: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Department {
    parent: Option<u64>,
    alone: Option<Known>,
    whole: Option<Known>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tag {
    users: Known,
    parties: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chat {
    members: Known,
    grown: u64,
    hashes: Vec<u64>,
}

impl CorpSizes {
    fn len(&self) -> usize {
        self.departments.len() + self.tags.len() + self.chats.len() + self.everyone.len()
    }

    fn now(&self, known: Option<&Known>, tick: i64) -> Option<u64> {
        let known = known.filter(|known| known.declared || tick - known.tick <= LEARNED_FOR_MS)?;
        Some(known.members.saturating_add(self.joined - known.joined))
    }

    fn department(&self, id: u64, tick: i64) -> Option<u64> {
        let department = self.departments.get(&id)?;
        if let Some(whole) = self.now(department.whole.as_ref(), tick) {
            return Some(whole);
        }
        let mut sum = 0_u64;
        for below in self.below(id)? {
            sum = sum.saturating_add(self.now(self.departments.get(&below)?.alone.as_ref(), tick)?);
        }
        Some(sum)
    }

    /// A department and all below it; none where the tree is not known.
    fn below(&self, id: u64) -> Option<BTreeSet<u64>> {
        self.departments.get(&id)?.parent?;
        let mut found = BTreeSet::from([id]);
        for _ in 0..DEPTH_MAX {
            let children = self.departments.iter().filter(|(child, department)| {
                department.parent.is_some_and(|parent| found.contains(&parent)) && !found.contains(child)
            });
            let children: Vec<u64> = children.map(|(&child, _)| child).collect();
            if children.is_empty() {
                return Some(found);
            }
            found.extend(children);
        }
        None
    }
}

impl Sizes {
    /// Members of a department and of all below it.
    pub fn department(&self, corp: Seq, id: u64, tick: i64) -> Option<u64> {
        self.corps.get(&corp)?.department(id, tick)
    }

    pub fn tag(&self, corp: Seq, id: u64, tick: i64) -> Option<u64> {
        let corp = self.corps.get(&corp)?;
        let tag = corp.tags.get(&id)?;
        let mut sum = corp.now(Some(&tag.users), tick)?;
        for &party in &tag.parties {
            sum = sum.saturating_add(corp.department(party, tick)?);
        }
        Some(sum)
    }

    /// Members of a group chat, and who they are where that was learned.
    pub fn chat(&self, corp: Seq, chat: u64, tick: i64) -> Option<(u64, &[u64])> {
        let found = self.corps.get(&corp)?.chats.get(&chat)?;
        // Nobody joins a chat by getting an account, so only its own changes count.
        let fresh = found.members.declared || tick - found.members.tick <= LEARNED_FOR_MS;
        let whole = found.grown == 0 && found.hashes.len() as u64 == found.members.members;
        let hashes: &[u64] = if whole { &found.hashes } else { &[] };
        fresh.then_some((found.members.members.saturating_add(found.grown), hashes))
    }

    /// Everybody whom an app can see.
    pub fn everyone(&self, corp: Seq, app: Seq, tick: i64) -> Option<u64> {
        let corp = self.corps.get(&corp)?;
        corp.now(corp.everyone.get(&app), tick)
    }

    /// Whether an entry would add nothing: the same was learned not long ago.
    pub fn knows(&self, corp: Seq, app: Seq, size: &Size, tick: i64) -> bool {
        let Some(known) = self.corps.get(&corp) else { return matches!(size, Size::Joined) };
        let same = |found: Option<&Known>, members: u64| {
            found.is_some_and(|found| {
                found.members == members
                    && found.joined == known.joined
                    && (found.declared || tick - found.tick < LEARNED_FOR_MS / 4)
            })
        };
        match size {
            Size::Department { id, with_children, members } => {
                let department = known.departments.get(id);
                let found = department.and_then(|it| if *with_children { it.whole } else { it.alone });
                same(found.as_ref(), *members)
            }
            Size::Tree { departments } => departments.iter().all(|(id, parent)| {
                known.departments.get(id).is_some_and(|department| department.parent == Some(*parent))
            }),
            Size::Tag { id, members, parties } => known
                .tags
                .get(id)
                .is_some_and(|tag| tag.parties == *parties && same(Some(&tag.users), *members)),
            Size::Chat { chat, members, hashes } => known.chats.get(chat).is_some_and(|found| {
                found.grown == 0
                    && found.hashes == *hashes
                    && found.members.members == *members
                    && tick - found.members.tick < LEARNED_FOR_MS / 4
            }),
            Size::ChatGrown { chat, .. } => !known.chats.contains_key(chat),
            Size::Everyone { members } => same(known.everyone.get(&app), *members),
            // Nothing is known that could have grown.
            Size::Joined => {
                known.departments.is_empty() && known.tags.is_empty() && known.everyone.is_empty()
            }
        }
    }

    /// Whether there is room for one more; nothing is learned where there is none.
    pub fn has_room(&self) -> bool {
        self.kept < SIZES_MAX
    }

    /// Forgets what holds no more, when there is no room otherwise.
    fn make_room(&mut self, tick: i64) {
        if self.has_room() && self.hashes < CHAT_HASHES_MAX {
            return;
        }
        let holds = |known: &Known| known.declared || tick - known.tick <= LEARNED_FOR_MS;
        for corp in self.corps.values_mut() {
            corp.tags.retain(|_, tag| holds(&tag.users));
            corp.chats.retain(|_, chat| holds(&chat.members));
            corp.everyone.retain(|_, known| holds(known));
            corp.departments
                .retain(|_, it| it.parent.is_some() || [it.alone, it.whole].iter().flatten().any(holds));
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.kept = self.corps.values().map(CorpSizes::len).sum();
        let chats = self.corps.values().flat_map(|corp| corp.chats.values());
        self.hashes = chats.map(|chat| chat.hashes.len()).sum();
    }

    /// What an entry says.
    pub(super) fn learn(&mut self, corp: Seq, app: Seq, size: &Size, tick: i64, declared: bool) {
        self.make_room(tick);
        let room = self.has_room();
        let hash_room = self.hashes < CHAT_HASHES_MAX;
        let of = self.corps.entry(corp).or_default();
        let before = of.len();
        let known = |members: u64| Known { members, tick, joined: of.joined, declared };
        match size {
            Size::Department { id, with_children, members } => {
                let known = known(*members);
                if room || of.departments.contains_key(id) {
                    let department = of.departments.entry(*id).or_default();
                    let place = if *with_children { &mut department.whole } else { &mut department.alone };
                    *place = Some(known);
                }
            }
            Size::Tree { departments } => {
                of.departments.values_mut().for_each(|department| department.parent = None);
                for (id, parent) in departments.iter().take(SIZES_MAX - self.kept.min(SIZES_MAX)) {
                    of.departments.entry(*id).or_default().parent = Some(*parent);
                }
            }
            Size::Tag { id, members, parties } => {
                let users = known(*members);
                if room || of.tags.contains_key(id) {
                    of.tags.insert(*id, Tag { users, parties: parties.clone() });
                }
            }
            Size::Chat { chat, members, hashes } => {
                let members = known(*members);
                let hashes = if hash_room { hashes.clone() } else { Vec::new() };
                if room || of.chats.contains_key(chat) {
                    self.hashes += hashes.len();
                    let old = of.chats.insert(*chat, Chat { members, grown: 0, hashes });
                    self.hashes -= old.map_or(0, |old| old.hashes.len());
                }
            }
            Size::ChatGrown { chat, by } => {
                if let Some(chat) = of.chats.get_mut(chat) {
                    chat.grown = chat.grown.saturating_add(*by);
                }
            }
            Size::Everyone { members } => {
                let known = known(*members);
                if room || of.everyone.contains_key(&app) {
                    of.everyone.insert(app, known);
                }
            }
            Size::Joined => of.joined = of.joined.saturating_add(1),
        }
        self.kept = self.kept + of.len() - before;
    }
}
