//! The messages that were delivered.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::tokens::Who;

#[derive(Debug)]
pub(super) struct Message {
    pub at: i64,
    pub who: Who,
    /// The group that it went to, if it was sent by appchat/send.
    pub chatid: Option<String>,
    pub to: Vec<Arc<str>>,
    /// Members who got too many already: WeCom tells nobody.
    pub dropped: Vec<Arc<str>>,
    pub msgtype: String,
    /// The text, or the message's own part as JSON; at most 2 KiB of it.
    pub content: String,
    pub msgid: String,
    pub recalled: bool,
}

impl Message {
    /// Roughly what it takes in memory; the ids themselves are shared.
    fn weight(&self) -> usize {
        let chatid = self.chatid.as_ref().map_or(0, String::len);
        256 + chatid + (self.to.len() + self.dropped.len()) * 16 + self.content.len() + self.msgid.len()
    }

    pub(super) fn show(&self, n: u64, corp_id: &str, agent_id: u32) -> Value {
        json!({"n": n, "at_ms": self.at, "corp_id": corp_id, "agent_id": agent_id, "msgid": self.msgid,
            "chatid": self.chatid, "to": texts(&self.to), "dropped": texts(&self.dropped), "msgtype": self.msgtype,
            "content": self.content, "recalled": self.recalled})
    }
}

fn texts(ids: &[Arc<str>]) -> Vec<&str> {
    ids.iter().map(AsRef::as_ref).collect()
}

/// A ring that is bounded by its weight, numbered without gaps from 1.
#[derive(Debug)]
pub(super) struct Messages {
    ring: VecDeque<Message>,
    first: u64,
    weight: usize,
    max_weight: usize,
}

impl Messages {
    pub(super) const fn new(max_weight: usize) -> Self {
        Self { ring: VecDeque::new(), first: 1, weight: 0, max_weight }
    }

    pub(super) fn push(&mut self, message: Message) {
        self.weight += message.weight();
        self.ring.push_back(message);
        self.trim();
    }

    pub(super) fn resize(&mut self, max_weight: usize) {
        self.max_weight = max_weight;
        self.trim();
    }

    fn trim(&mut self) {
        while self.weight > self.max_weight
            && let Some(oldest) = self.ring.pop_front()
        {
            self.weight -= oldest.weight();
            self.first += 1;
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.first + self.ring.len() as u64 - 1
    }

    pub(super) fn after(&self, n: u64, limit: usize) -> impl Iterator<Item = (u64, &Message)> {
        let start = (n + 1).max(self.first);
        self.ring.iter().skip((start - self.first) as usize).take(limit).zip(start..).map(|(m, n)| (n, m))
    }

    /// Searches from the newest: recalls follow soon after. Answers false if there is no such message.
    pub(super) fn recall(&mut self, who: Who, msgid: &str, not_before: i64) -> bool {
        let of_app = |m: &&mut Message| m.who == who && m.msgid == msgid && m.at >= not_before;
        self.ring.iter_mut().rev().find(of_app).map(|message| message.recalled = true).is_some()
    }
}
