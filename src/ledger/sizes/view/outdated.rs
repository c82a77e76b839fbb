//! What is known becomes larger than it was, or is not known any more.

use std::collections::BTreeSet;

use crate::ledger::entry::Size;

use super::{Department, View};

/// Departments that a tag is taken to name, at most; one with more is forgotten.
const TAG_PARTIES_MAX: usize = 10_000;

impl View {
    /// Something that this view may know has changed.
    pub(in crate::ledger::sizes) fn outdated(&mut self, size: &Size, hashes_room: usize) {
        match size {
            Size::DepartmentsChanged => self.forget_departments(),
            Size::TagsChanged => self.forget_tags(),
            Size::ChatsChanged => {
                self.chats.clear();
                self.recount();
            }
            Size::ScopesChanged => {
                self.scope = None;
                self.recount();
            }
            Size::TagGrown { id, members, parties } => self.grow_tag(*id, *members, parties),
            Size::ChatGrown { chat, by, added, removed } => {
                self.change_chat(*chat, *by, added, removed, hashes_room);
            }
            _ => {}
        }
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

    fn forget_tags(&mut self) {
        self.tags.retain(|_, tag| tag.declared.is_some());
        self.tags.values_mut().for_each(|tag| tag.learned = None);
        self.recount();
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
