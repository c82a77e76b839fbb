//! How many members departments, tags, group chats and apps' scopes have, as far as the ledger knows: from answers
//! that passed through, each as the app that asked may see it, or declared by an operator, for one app or for every
//! app of a corp. An upper bound is what matters: of what was declared and what was learned the larger counts, and
//! where nothing is known, the caller takes the corp's whole account cap. What a call adds is added to either; where
//! nobody knows how much it adds, neither holds any more, until it is declared or learned anew.

mod sums;
mod view;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::entry::{Seq, Size};
use view::View;
pub use view::{Of, Shown};

/// What was learned from an answer holds this long: members come and go without our seeing it.
pub const LEARNED_FOR_MS: i64 = 24 * 3_600_000;

/// The same answer is worth an entry again when this much of its time has passed.
const WORTH_REPEATING_MS: i64 = LEARNED_FOR_MS / 4;

/// Sizes that are kept, of all corps together, with each department that a tag or a scope names. A further one is not
/// learned. Each takes at most 200 bytes, and a group chat 8 bytes for each member where a limit tells members apart.
pub const SIZES_MAX: usize = 100_000;
const CHAT_HASHES_MAX: usize = 2_000_000;

/// When everything is full, what holds no more is looked for this often at most.
const PRUNE_EVERY_MS: i64 = 60_000;

/// What helps where a message costs more than a whole limit.
pub const UNKNOWN_IN_WORDS: &str = "a group whose size is not known counts as the whole corp: `members learn` or `members declare` makes it known";

/// Stands for every app of the corp: what was declared without one.
const EVERY_APP: Seq = 0;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    corps: BTreeMap<Seq, CorpSizes>,
    kept: usize,
    hashes: usize,
    pruned: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct CorpSizes {
    /// What each app can see.
    views: BTreeMap<Seq, View>,
    /// How often a new member may have come into a department, since the ledger began.
    joined: u64,
}

/// When something is asked or said: the tick, and how many had joined departments by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct When {
    tick: i64,
    joined: u64,
}

impl When {
    fn still_knows(self, tick: i64) -> bool {
        self.tick - tick <= LEARNED_FOR_MS
    }
}

/// What an app can see, and what was declared for every app.
#[derive(Clone, Copy)]
struct Seen<'a> {
    own: Option<&'a View>,
    every: Option<&'a View>,
    when: When,
}

impl Seen<'_> {
    /// The app's own declaration before the corp's; what was learned if it is more.
    fn larger(&self, declared: impl Fn(&View) -> Option<u64>, learned: Option<u64>) -> Option<u64> {
        let declared = self.own.and_then(&declared).or_else(|| self.every.and_then(&declared));
        // None is less than any.
        declared.max(learned)
    }

    fn department(&self, id: u64) -> Option<u64> {
        let learned = self.own.and_then(|view| view.department(id, self.when));
        self.larger(|view| view.declared_department(id, self.when), learned)
    }

    fn tag(&self, id: u64) -> Option<u64> {
        let size = |(members, parties): (u64, &[u64])| self.sum(members, parties, &[]);
        let learned = self.own.and_then(|view| view.tag(id, self.when)).and_then(size);
        self.larger(|view| view.declared_tag(id, self.when).and_then(size), learned)
    }

    fn everyone(&self) -> Option<u64> {
        let scope = self.own.and_then(|view| view.scope(self.when));
        let learned = scope.and_then(|scope| self.sum(scope.users, &scope.parties, &scope.tags));
        self.larger(|view| view.declared_everyone(self.when), learned)
    }

    /// Only if each of them is known.
    fn sum(&self, members: u64, parties: &[u64], tags: &[u64]) -> Option<u64> {
        let parties = parties.iter().map(|&id| self.department(id));
        let tags = tags.iter().map(|&id| self.tag(id));
        parties.chain(tags).try_fold(members, |sum, size| Some(sum.saturating_add(size?)))
    }
}

impl Sizes {
    fn seen(&self, corp: Seq, app: Seq, tick: i64) -> Option<Seen<'_>> {
        let corp = self.corps.get(&corp)?;
        let when = When { tick, joined: corp.joined };
        Some(Seen { own: corp.views.get(&app), every: corp.views.get(&EVERY_APP), when })
    }

    /// Members of a department and of all below it.
    pub fn department(&self, corp: Seq, app: Seq, id: u64, tick: i64) -> Option<u64> {
        self.seen(corp, app, tick)?.department(id)
    }

    pub fn tag(&self, corp: Seq, app: Seq, id: u64, tick: i64) -> Option<u64> {
        self.seen(corp, app, tick)?.tag(id)
    }

    /// Everybody whom an app can see.
    pub fn everyone(&self, corp: Seq, app: Seq, tick: i64) -> Option<u64> {
        self.seen(corp, app, tick)?.everyone()
    }

    /// Members of a group chat, and who they are where that was learned.
    pub fn chat(&self, corp: Seq, app: Seq, chat: u64, tick: i64) -> Option<(u64, &[u64])> {
        let seen = self.seen(corp, app, tick)?;
        seen.own?.chat(chat, seen.when)
    }

    /// Everything of which something is known, by corp and app (0: every app), in this order.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, Seq, Of)> {
        self.corps.iter().flat_map(|(&corp, sizes)| {
            let views = sizes.views.iter();
            views.flat_map(move |(&app, view)| view.names().map(move |of| (corp, app, of)))
        })
    }

    /// What is known of one of them.
    pub fn show(&self, corp: Seq, app: Seq, of: Of, tick: i64) -> Option<Shown> {
        let seen = self.seen(corp, app, tick)?;
        let members = match of {
            Of::Everyone => seen.everyone(),
            Of::Department(id) => seen.department(id),
            Of::Tag(id) => seen.tag(id),
        };
        let (declared, learned) = seen.own?.said(of, seen.when);
        Some(Shown { members, declared, learned })
    }

    /// Whether asking for it again would hardly teach anything.
    pub fn learned_lately(&self, corp: Seq, app: Seq, of: Of, tick: i64) -> bool {
        let learned = self.show(corp, app, of, tick).and_then(|shown| shown.learned);
        learned.is_some_and(|learned| tick - learned < WORTH_REPEATING_MS)
    }

    /// Whether an entry would add nothing: the same was learned not long ago, or there is no room.
    pub fn knows(&self, corp: Seq, app: Seq, size: &Size, tick: i64) -> bool {
        let known = self.corps.get(&corp);
        let mut views = known.into_iter().flat_map(|known| known.views.values());
        match size {
            // Nothing is known that could have grown.
            Size::Joined { .. } => !views.any(View::grows),
            Size::Moved { .. } | Size::DepartmentsChanged => !views.any(View::has_learned_departments),
            Size::DepartmentsGrown => {
                !views.any(|view| view.has_learned_departments() || view.has_declared())
            }
            Size::TagsChanged => !views.any(View::has_tags),
            Size::ChatsChanged => !views.any(View::has_chats),
            Size::ScopesChanged => !views.any(View::has_everyone),
            Size::TagGrown { id, members, parties } => {
                views.all(|view| view.tag_includes(*id, *members, parties))
            }
            Size::ChatGrown { chat, by, removed, .. } => {
                !views.any(|view| view.has_chat(*chat)) || *by == 0 && removed.is_empty()
            }
            _ => {
                let when = When { tick, joined: known.map_or(0, |known| known.joined) };
                let view = known.and_then(|known| known.views.get(&app));
                let full = self.kept >= SIZES_MAX
                    && self.pruned.is_some_and(|pruned| tick - pruned < PRUNE_EVERY_MS);
                full || view.is_some_and(|view| view.knows(size, when))
            }
        }
    }

    /// Whether one more can be kept.
    pub fn has_room(&self) -> bool {
        self.kept < SIZES_MAX && self.hashes < CHAT_HASHES_MAX
    }

    /// Forgets what holds no more, when there is no room otherwise.
    fn make_room(&mut self, tick: i64) {
        if self.has_room() || self.pruned.is_some_and(|pruned| tick - pruned < PRUNE_EVERY_MS) {
            return;
        }
        self.pruned = Some(tick);
        for corp in self.corps.values_mut() {
            let when = When { tick, joined: corp.joined };
            corp.views.values_mut().for_each(|view| view.prune(when));
            corp.views.retain(|_, view| view.weight() > 0);
        }
        let views = || self.corps.values().flat_map(|corp| corp.views.values());
        (self.kept, self.hashes) = (views().map(View::weight).sum(), views().map(View::hashes).sum());
    }

    /// What an entry says.
    pub(super) fn learn(&mut self, corp: Seq, app: Seq, size: &Size, tick: i64, declared: bool) {
        self.make_room(tick);
        let room = SIZES_MAX.saturating_sub(self.kept);
        let hashes_room = CHAT_HASHES_MAX.saturating_sub(self.hashes);
        let of = self.corps.entry(corp).or_default();
        let when = When { tick, joined: of.joined };
        let weigh = |view: &View| (view.weight(), view.hashes());
        let mut change = |view: &mut View, change: &mut dyn FnMut(&mut View)| {
            let before = weigh(view);
            change(view);
            let after = weigh(view);
            self.kept = self.kept + after.0 - before.0;
            self.hashes = self.hashes + after.1 - before.1;
        };
        match size {
            Size::Joined { departments } => of.joined = of.joined.saturating_add((*departments).max(1)),
            // Whoever may see it, it has changed.
            Size::DepartmentsChanged
            | Size::DepartmentsGrown
            | Size::TagsChanged
            | Size::ChatsChanged
            | Size::ScopesChanged
            | Size::Moved { .. }
            | Size::TagGrown { .. }
            | Size::ChatGrown { .. } => {
                let views = of.views.values_mut();
                views.for_each(|view| change(view, &mut |view| view.outdated(size, when, hashes_room)));
            }
            _ => {
                let view = of.views.entry(app).or_default();
                change(view, &mut |view| {
                    if declared {
                        view.declare(size, when, room);
                    } else {
                        view.learn(size, when, room, hashes_room);
                    }
                });
            }
        }
    }
}

#[cfg(test)]
impl Sizes {
    /// Whether everything was counted that is there.
    pub(super) fn is_consistent(&self) -> bool {
        let views = || self.corps.values().flat_map(|corp| corp.views.values());
        let counted = (views().map(View::weight).sum(), views().map(View::hashes).sum());
        counted == (self.kept, self.hashes) && views().all(View::is_consistent)
    }
}
