//! What one app can see, or what was declared for every app of a corp.

mod outdated;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::sums::{Sum, Sums};
use super::{WORTH_REPEATING_MS, When};
use crate::ledger::entry::Size;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct View {
    departments: BTreeMap<u64, Department>,
    /// How often a member may have moved into a department of which it is not known here where it is.
    moved: u64,
    /// The departments directly below each.
    children: BTreeMap<u64, BTreeSet<u64>>,
    #[serde(skip)]
    sums: Sums,
    tags: BTreeMap<u64, Tag>,
    chats: BTreeMap<u64, Chat>,
    everyone: Option<Known>,
    scope: Option<Scope>,
    /// The lengths of all lists in tags and scope.
    listed: usize,
    hashes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    members: u64,
    tick: i64,
    /// How many had joined departments at that time.
    joined: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Department {
    /// The department above, and when all departments below this one were listed.
    pub(super) parent: Option<(u64, i64)>,
    /// Without those below.
    pub(super) alone: Option<Known>,
    whole: Option<Known>,
    declared: Option<Known>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tag {
    learned: Option<TagSize>,
    declared: Option<TagSize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TagSize {
    users: Known,
    parties: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chat {
    members: u64,
    tick: i64,
    /// Who they are, in rising order; empty where that is not known.
    listed: Vec<u64>,
}

/// Whom an app may reach: its `@all`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Scope {
    pub users: u64,
    pub parties: Vec<u64>,
    pub tags: Vec<u64>,
    tick: i64,
}

/// One thing that is known, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What counts now; none: not enough is known.
    pub members: Option<u64>,
    /// What was declared here.
    pub declared: Option<u64>,
    /// When it was learned last.
    pub learned: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    Everyone,
    Department(u64),
    Tag(u64),
}

impl Known {
    fn at(members: u64, when: When) -> Self {
        Self { members, tick: when.tick, joined: when.joined }
    }

    /// Both together, known since the older of the two. Who joined since, joined one of them: that counts once, from
    /// the oldest of the numbers on.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            members: self.members.saturating_add(other.members),
            tick: self.tick.min(other.tick),
            joined: self.joined.min(other.joined),
        }
    }

    /// With those who may have joined since.
    fn by(&self, when: When) -> u64 {
        self.members.saturating_add(when.joined.saturating_sub(self.joined))
    }

    fn holds(&self, when: When) -> bool {
        when.still_knows(self.tick)
    }

    fn says(&self, members: u64, when: When) -> bool {
        self.members == members && self.joined == when.joined && when.tick - self.tick < WORTH_REPEATING_MS
    }
}

impl TagSize {
    fn by(&self, when: When) -> (u64, &[u64]) {
        (self.users.by(when), &self.parties)
    }
}

impl Department {
    fn is_empty(&self) -> bool {
        self.parent.is_none() && self.alone.is_none() && self.whole.is_none() && self.declared.is_none()
    }
}

impl View {
    pub(super) fn weight(&self) -> usize {
        let single = usize::from(self.everyone.is_some()) + usize::from(self.scope.is_some());
        self.departments.len() + self.tags.len() + self.chats.len() + self.listed + single
    }

    pub(super) fn hashes(&self) -> usize {
        self.hashes
    }

    pub(super) fn declared_department(&self, id: u64, when: When) -> Option<u64> {
        Some(self.departments.get(&id)?.declared?.by(when))
    }

    /// When what was learned of departments is asked or said. Declared numbers and tags hold whoever moves.
    fn of_departments(&self, when: When) -> When {
        When { joined: when.joined.saturating_add(self.moved), ..when }
    }

    /// As learned: as a whole, or as the sum of all below it.
    pub(super) fn department(&self, id: u64, when: When) -> Option<u64> {
        let when = self.of_departments(when);
        let whole = self.departments.get(&id)?.whole.filter(|whole| whole.holds(when));
        if let Some(whole) = whole {
            return Some(whole.by(when));
        }
        let (_, listed) = self.departments.get(&id)?.parent?;
        if !when.still_knows(listed) {
            return None;
        }
        let sum = match self.sums.of(id, &self.departments, &self.children) {
            Sum::Of(sum) => sum,
            Sum::Unknown => return None,
            Sum::Circular => self.walk(id)?,
        };
        sum.holds(when).then(|| sum.by(when))
    }

    /// The sum of a department and all below it, one by one.
    fn walk(&self, id: u64) -> Option<Known> {
        let alone = |id: u64| self.departments.get(&id)?.alone;
        let mut below = self.subtree(id).into_iter();
        let first = alone(below.next()?)?;
        below.try_fold(first, |sum, id| Some(sum.and(alone(id)?)))
    }

    /// A cycle ends where it began.
    fn subtree(&self, id: u64) -> BTreeSet<u64> {
        let mut found = BTreeSet::from([id]);
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            let children = self.children.get(&id).into_iter().flatten();
            next.extend(children.filter(|&&child| found.insert(child)));
        }
        found
    }

    pub(super) fn declared_tag(&self, id: u64, when: When) -> Option<(u64, &[u64])> {
        Some(self.tags.get(&id)?.declared.as_ref()?.by(when))
    }

    pub(super) fn tag(&self, id: u64, when: When) -> Option<(u64, &[u64])> {
        let learned = self.tags.get(&id)?.learned.as_ref()?;
        learned.users.holds(when).then(|| learned.by(when))
    }

    pub(super) fn declared_everyone(&self, when: When) -> Option<u64> {
        Some(self.everyone?.by(when))
    }

    pub(super) fn scope(&self, when: When) -> Option<&Scope> {
        self.scope.as_ref().filter(|scope| when.still_knows(scope.tick))
    }

    pub(super) fn has_chat(&self, chat: u64) -> bool {
        self.chats.contains_key(&chat)
    }

    /// Nobody joins a chat by getting an account, so only its own changes count.
    pub(super) fn chat(&self, chat: u64, when: When) -> Option<(u64, &[u64])> {
        let found = self.chats.get(&chat).filter(|found| when.still_knows(found.tick))?;
        Some((found.members, &found.listed))
    }

    /// Whether anything here is larger when somebody joins a department.
    pub(super) fn grows(&self) -> bool {
        !self.departments.is_empty() || !self.tags.is_empty() || self.everyone.is_some()
    }

    pub(super) fn has_learned_departments(&self) -> bool {
        let of_tag = |tag: &Tag| tag.learned.as_ref().is_some_and(|learned| !learned.parties.is_empty());
        let of_department =
            |it: &Department| it.parent.or(it.alone.map(|_| (0, 0))).is_some() || it.whole.is_some();
        self.departments.values().any(of_department) || self.tags.values().any(of_tag)
    }

    pub(super) fn has_declared(&self) -> bool {
        self.everyone.is_some()
            || self.departments.values().any(|it| it.declared.is_some())
            || self.tags.values().any(|tag| tag.declared.is_some())
    }

    pub(super) fn has_tags(&self) -> bool {
        !self.tags.is_empty() || self.everyone.is_some()
    }

    pub(super) fn has_chats(&self) -> bool {
        !self.chats.is_empty()
    }

    pub(super) fn has_everyone(&self) -> bool {
        self.scope.is_some() || self.everyone.is_some()
    }

    /// Whether it would not change if the tag got these.
    pub(super) fn tag_includes(&self, id: u64, members: u64, parties: &[u64]) -> bool {
        if self.everyone.is_some() && (members > 0 || !parties.is_empty()) {
            return false;
        }
        let Some(tag) = self.tags.get(&id) else { return true };
        let sizes = [&tag.learned, &tag.declared];
        members == 0
            && sizes.into_iter().flatten().all(|size| parties.iter().all(|id| size.parties.contains(id)))
    }

    pub(super) fn knows(&self, size: &Size, when: When) -> bool {
        match size {
            Size::Department { id, with_children, members } => {
                let department = self.departments.get(id);
                let known = department.and_then(|it| if *with_children { it.whole } else { it.alone });
                known.is_some_and(|known| known.says(*members, self.of_departments(when)))
            }
            Size::Tree { root, departments } => self.knows_tree(*root, departments, when),
            Size::Tag { id, members, parties } => {
                let known = self.tags.get(id).and_then(|tag| tag.learned.as_ref());
                known.is_some_and(|known| known.parties == *parties && known.users.says(*members, when))
            }
            Size::Chat { chat, members, hashes } => self.chats.get(chat).is_some_and(|found| {
                let same = found.members == *members && found.listed == *hashes;
                same && when.tick - found.tick < WORTH_REPEATING_MS
            }),
            Size::Scope { users, parties, tags } => self.scope.as_ref().is_some_and(|scope| {
                let same = (scope.users, &scope.parties, &scope.tags) == (*users, parties, tags);
                same && when.tick - scope.tick < WORTH_REPEATING_MS
            }),
            _ => false,
        }
    }

    fn knows_tree(&self, root: Option<u64>, departments: &[(u64, u64)], when: When) -> bool {
        let same = departments.iter().all(|(id, parent)| {
            let known = self.departments.get(id).and_then(|department| department.parent);
            known.is_some_and(|(above, tick)| above == *parent && when.tick - tick < WORTH_REPEATING_MS)
        });
        let listed = match root {
            Some(root) => self.subtree(root).len(),
            None => self.departments.values().filter(|it| it.parent.is_some()).count(),
        };
        same && listed == departments.len()
    }

    /// Forgets what holds no more.
    pub(super) fn prune(&mut self, when: When) {
        let holds = |known: &Option<Known>| known.is_some_and(|known| known.holds(when));
        for department in self.departments.values_mut() {
            department.alone = department.alone.filter(|known| known.holds(when));
            department.whole = department.whole.filter(|known| known.holds(when));
            department.parent = department.parent.filter(|(_, tick)| when.still_knows(*tick));
        }
        self.departments.retain(|_, department| !department.is_empty());
        for tag in self.tags.values_mut() {
            tag.learned = tag.learned.take().filter(|it| holds(&Some(it.users)));
        }
        self.tags.retain(|_, tag| tag.learned.is_some() || tag.declared.is_some());
        self.chats.retain(|_, chat| when.still_knows(chat.tick));
        self.scope = self.scope.take().filter(|scope| when.still_knows(scope.tick));
        self.recount();
    }

    /// After anything but a single size has changed.
    fn recount(&mut self) {
        self.sums.forget();
        self.children.clear();
        for (&id, department) in &self.departments {
            if let Some((parent, _)) = department.parent {
                self.children.entry(parent).or_default().insert(id);
            }
        }
        let sizes = self.tags.values().flat_map(|tag| [&tag.learned, &tag.declared]).flatten();
        let scope = self.scope.as_ref().map_or(0, |scope| scope.parties.len() + scope.tags.len());
        self.listed = sizes.map(|size| size.parties.len()).sum::<usize>() + scope;
        self.hashes = self.chats.values().map(|chat| chat.listed.len()).sum();
    }

    /// What an operator says; there are no other sizes that can be declared.
    pub(super) fn declare(&mut self, size: &Size, when: When, room: usize) {
        match size {
            Size::Department { id, members, .. } if room > 0 || self.departments.contains_key(id) => {
                self.departments.entry(*id).or_default().declared = Some(Known::at(*members, when));
            }
            Size::Tag { id, members, parties } if room > parties.len() => {
                let declared = TagSize { users: Known::at(*members, when), parties: parties.clone() };
                self.listed += parties.len();
                let before = self.tags.entry(*id).or_default().declared.replace(declared);
                self.listed -= before.map_or(0, |before| before.parties.len());
            }
            Size::Everyone { members } => self.everyone = Some(Known::at(*members, when)),
            _ => {}
        }
    }

    pub(super) fn learn(&mut self, size: &Size, when: When, room: usize, hashes_room: usize) {
        match size {
            Size::Department { id, with_children, members }
                if room > 0 || self.departments.contains_key(id) =>
            {
                let known = Known::at(*members, self.of_departments(when));
                let department = self.departments.entry(*id).or_default();
                let place = if *with_children { &mut department.whole } else { &mut department.alone };
                *place = Some(known);
                self.sums.changed(*id, &self.departments);
            }
            Size::Tree { root, departments } => self.learn_tree(*root, departments, when, room),
            Size::Tag { id, members, parties } if room > parties.len() => {
                let learned = TagSize { users: Known::at(*members, when), parties: parties.clone() };
                self.listed += parties.len();
                let before = self.tags.entry(*id).or_default().learned.replace(learned);
                self.listed -= before.map_or(0, |before| before.parties.len());
            }
            Size::Chat { chat, members, hashes } if room > 0 => {
                let listed = if hashes.len() <= hashes_room { hashes.clone() } else { Vec::new() };
                self.put_chat(*chat, *members, when.tick, listed);
            }
            Size::Scope { users, parties, tags } if room > parties.len() + tags.len() => {
                self.listed += parties.len() + tags.len();
                let scope =
                    Scope { users: *users, parties: parties.clone(), tags: tags.clone(), tick: when.tick };
                let before = self.scope.replace(scope);
                self.listed -= before.map_or(0, |before| before.parties.len() + before.tags.len());
            }
            _ => {}
        }
    }

    /// A list of departments replaces what was known of them. Where one has gone or has come from elsewhere, nothing
    /// that was known of other departments as wholes is certain.
    fn learn_tree(&mut self, root: Option<u64>, departments: &[(u64, u64)], when: When, room: usize) {
        let now: BTreeMap<u64, u64> = departments.iter().copied().collect();
        let replaced: BTreeSet<u64> = match root {
            Some(root) => self.subtree(root),
            None => self.departments.keys().copied().collect(),
        };
        let moved = now.iter().any(|(id, parent)| {
            let known = self.departments.get(id).and_then(|department| department.parent);
            known.is_some_and(|(above, _)| above != *parent)
        });
        let gone = root.is_some() && replaced.iter().any(|id| !now.contains_key(id));
        for (id, department) in &mut self.departments {
            if moved || gone {
                department.whole = None;
            }
            if moved || gone || replaced.contains(id) {
                department.parent = None;
            }
        }
        // Half a tree would be too small.
        if now.len() <= room {
            for (&id, &parent) in &now {
                self.departments.entry(id).or_default().parent = Some((parent, when.tick));
            }
        }
        self.departments.retain(|_, department| !department.is_empty());
        self.recount();
    }

    fn put_chat(&mut self, chat: u64, members: u64, tick: i64, listed: Vec<u64>) {
        self.hashes += listed.len();
        let before = self.chats.insert(chat, Chat { members, tick, listed });
        self.hashes -= before.map_or(0, |before| before.listed.len());
    }

    pub(super) fn names(&self) -> impl Iterator<Item = Of> {
        let everyone = self.everyone.is_some() || self.scope.is_some();
        let departments = self.departments.keys().map(|&id| Of::Department(id));
        let tags = self.tags.keys().map(|&id| Of::Tag(id));
        everyone.then_some(Of::Everyone).into_iter().chain(departments).chain(tags)
    }

    /// What was declared here, and when something was learned last.
    pub(super) fn said(&self, of: Of, when: When) -> (Option<u64>, Option<i64>) {
        match of {
            Of::Everyone => (self.declared_everyone(when), self.scope.as_ref().map(|scope| scope.tick)),
            Of::Department(id) => self.departments.get(&id).map_or((None, None), |it| {
                let learned = [it.alone, it.whole].iter().flatten().map(|known| known.tick).max();
                (it.declared.map(|known| known.by(when)), learned)
            }),
            Of::Tag(id) => self.tags.get(&id).map_or((None, None), |it| {
                let learned = it.learned.as_ref().map(|learned| learned.users.tick);
                (it.declared.as_ref().map(|declared| declared.users.by(when)), learned)
            }),
        }
    }
}

#[cfg(test)]
impl View {
    pub(super) fn is_consistent(&self) -> bool {
        let mut counted = self.clone();
        counted.recount();
        let summed = |&id: &u64| {
            let sum = self.sums.of(id, &self.departments, &self.children);
            sum == Sum::Circular || sum == self.walk(id).map_or(Sum::Unknown, Sum::Of)
        };
        counted == *self && self.departments.keys().all(summed)
    }
}
