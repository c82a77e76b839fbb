//! What is known becomes larger than it was, or is not known any more.

use std::collections::BTreeSet;

use crate::ledger::entry::Size;

use super::super::When;
use super::{Department, View};

/// Departments that a tag is taken to name, at most; one with more is forgotten.
const TAG_PARTIES_MAX: usize = 10_000;

/// Whether it is known what is above it.
fn is_placed(department: &Department, when: When) -> bool {
    department.parent.is_some_and(|(_, listed)| when.still_knows(listed))
}

impl View {
    /// Something that this view may know has changed.
    pub(in crate::ledger::sizes) fn outdated(&mut self, size: &Size, when: When, hashes_room: usize) {
        match size {
            Size::Moved { into } => into.iter().for_each(|id| self.moved_into(*id, when)),
            Size::DepartmentsChanged => self.forget_departments(),
            Size::DepartmentsGrown => {
                self.forget_declared();
                self.forget_departments();
            }
            Size::TagsChanged => {
                self.tags.clear();
                self.everyone = None;
                self.recount();
            }
            Size::ChatsChanged => {
                self.chats.clear();
                self.recount();
            }
            Size::ScopesChanged => {
                self.scope = None;
                self.everyone = None;
                self.recount();
            }
            Size::TagGrown { id, members, parties } => {
                self.grow_tag(*id, *members, parties);
                self.grow_everyone(*members, parties);
            }
            Size::ChatGrown { chat, by, added, removed } => {
                self.change_chat(*chat, *by, added, removed, hashes_room);
            }
            _ => {}
        }
    }

    /// A member may have come into a department. Where it is known which departments are above, these alone may be
    /// larger, and any of which it is not known where they are; else every one. Where the member was before nobody says,
    /// so nothing becomes smaller.
    fn moved_into(&mut self, id: u64, when: When) {
        let Some(above) = self.above(id, when) else {
            self.moved = self.moved.saturating_add(1);
            return;
        };
        for (other, department) in &mut self.departments {
            let elsewhere = is_placed(department, when) && !above.contains(other);
            if let Some(whole) = department.whole.as_mut().filter(|_| !elsewhere) {
                whole.members = whole.members.saturating_add(1);
            }
        }
        if let Some(alone) = self.departments.get_mut(&id).and_then(|department| department.alone.as_mut()) {
            alone.members = alone.members.saturating_add(1);
            self.sums.changed(id, &self.departments);
        }
    }

    /// A department with all above it, if that is known.
    fn above(&self, id: u64, when: When) -> Option<BTreeSet<u64>> {
        let mut above = BTreeSet::new();
        let mut next = self.departments.get(&id).filter(|it| is_placed(it, when)).map(|_| id);
        while let Some(id) = next.filter(|id| above.insert(*id)) {
            next =
                self.departments.get(&id).filter(|it| is_placed(it, when)).and_then(|it| Some(it.parent?.0));
        }
        (!above.is_empty()).then_some(above)
    }

    fn forget_departments(&mut self) {
        for department in self.departments.values_mut() {
            *department = Department { declared: department.declared, ..Department::default() };
        }
        self.departments.retain(|_, department| !department.is_empty());
        for tag in self.tags.values_mut() {
            tag.learned = tag.learned.take().filter(|learned| learned.parties.is_empty());
        }
        self.tags.retain(|_, tag| tag.learned.is_some() || tag.declared.is_some());
        self.recount();
    }

    /// Nobody knows by how many they have grown.
    fn forget_declared(&mut self) {
        self.everyone = None;
        self.departments.values_mut().for_each(|department| department.declared = None);
        self.tags.values_mut().for_each(|tag| tag.declared = None);
    }

    /// A scope may name the tag that has grown. How many its new departments add to that is not known.
    fn grow_everyone(&mut self, members: u64, parties: &[u64]) {
        self.everyone = self.everyone.filter(|_| parties.is_empty());
        if let Some(everyone) = &mut self.everyone {
            everyone.members = everyone.members.saturating_add(members);
        }
    }

    fn grow_tag(&mut self, id: u64, members: u64, parties: &[u64]) {
        let Some(tag) = self.tags.get_mut(&id) else { return };
        for place in [&mut tag.learned, &mut tag.declared] {
            let Some(size) = place else { continue };
            let before = size.parties.len();
            size.users.members = size.users.members.saturating_add(members);
            size.parties.extend(parties);
            size.parties.sort_unstable();
            size.parties.dedup();
            self.listed = self.listed - before + size.parties.len();
            if size.parties.len() > TAG_PARTIES_MAX {
                self.listed -= size.parties.len();
                *place = None;
            }
        }
    }

    /// Who they are stays known only where it was, and is for all who came.
    fn change_chat(&mut self, chat: u64, by: u64, added: &[u64], removed: &[u64], hashes_room: usize) {
        let Some(found) = self.chats.get(&chat) else { return };
        let (members, tick) = (found.members, found.tick);
        let whole = found.listed.len() as u64 == members && added.len() as u64 == by;
        if whole && added.len() <= hashes_room {
            let mut all: BTreeSet<u64> = found.listed.iter().chain(added).copied().collect();
            for gone in removed {
                all.remove(gone);
            }
            self.put_chat(chat, all.len() as u64, tick, all.into_iter().collect());
        } else {
            self.put_chat(chat, members.saturating_add(by), tick, Vec::new());
        }
    }
}
