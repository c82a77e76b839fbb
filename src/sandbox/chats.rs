//! Group chats that apps made with appchat/create.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::directory::Directory;

/// Places in all groups of a company; beyond it the sandbox makes no more.
const MAX_PLACES: usize = 2_000_000;
/// WeCom's own bound on the members of one group.
pub(super) const MAX_MEMBERS: usize = 2_000;

#[derive(Debug, Clone)]
pub(super) struct Chat {
    /// The app that made it, by its place: no other may use it.
    pub app: usize,
    pub name: String,
    pub owner: Arc<str>,
    /// By their userids in lower case, as in the directory.
    pub members: BTreeSet<Arc<str>>,
}

impl Chat {
    pub(super) fn show(&self, chatid: &str, directory: &Directory) -> Value {
        let userid = |id: &Arc<str>| directory.members.get(id).map(|member| member.userid.as_str());
        let members: Vec<_> = self.members.iter().filter_map(userid).collect();
        json!({"chatid": chatid, "name": self.name, "owner": userid(&self.owner), "userlist": members})
    }
}

#[derive(Debug, Default)]
pub(super) struct Chats {
    by_id: BTreeMap<String, Chat>,
    places: usize,
}

impl Chats {
    pub(super) fn contains(&self, chatid: &str) -> bool {
        self.by_id.contains_key(chatid)
    }

    /// The app's own chat, or the errcode that says why not.
    pub(super) fn of_app(&self, app: usize, chatid: &str) -> Result<&Chat, i32> {
        let chat = self.by_id.get(chatid).ok_or(86003)?;
        if chat.app == app { Ok(chat) } else { Err(86008) }
    }

    /// Stores a chat, new or changed; false if there is no room.
    pub(super) fn put(&mut self, chatid: String, chat: Chat) -> bool {
        let before = self.by_id.get(&chatid).map_or(0, |chat| chat.members.len());
        let places = self.places - before + chat.members.len();
        if places > MAX_PLACES {
            return false;
        }
        self.places = places;
        self.by_id.insert(chatid, chat);
        true
    }

    /// A member who left the company has left its groups; where they owned one, it goes to the next member.
    pub(super) fn forget(&mut self, member: &Arc<str>) {
        for chat in self.by_id.values_mut() {
            if !chat.members.remove(member) {
                continue;
            }
            self.places -= 1;
            if chat.owner == *member
                && let Some(next) = chat.members.first()
            {
                chat.owner = next.clone();
            }
        }
    }
}
