//! What a call may take: an upper bound, from what it asks for and what is known of sizes.

use crate::ledger::command::{Ask, To};
use crate::ledger::directory::App;
use crate::ledger::entry::{People, Seq, Target};
use crate::ledger::state::State;
use crate::quota::Cost;

/// Members of a group chat, at most (<https://developer.work.weixin.qq.com/document/path/90245>).
const CHAT_MEMBERS_MAX: u64 = 2_000;

/// Members whom a limit can follow one by one in a message, at most: what `touser` takes.
pub const MEMBERS_MAX: usize = 1_000;

/// The cost that is reserved, and whom the call reaches. `one_by_one`: a limit tells members apart, and it is not
/// certain that the call reaches none.
pub(super) fn resolve(
    state: &State,
    app_seq: Seq,
    app: &App,
    ask: &Ask,
    tick: i64,
    one_by_one: bool,
) -> (Cost, Target) {
    let account_cap = state.directory.corps.get(&app.corp).map_or(u64::MAX, |corp| corp.account_cap);
    let mut cost = Cost { calls: 1, accounts: ask.accounts, domains: ask.domains, ..Cost::default() };
    let unread = ask.unread.map(str::to_owned);
    let mut target = Target { chat: ask.chat, unread, ..Target::default() };
    match &ask.to {
        To::Nobody => target.broadcast = one_by_one,
        To::Count(people) => {
            cost.person_times = *people;
            // Any member may be among them.
            target.broadcast = one_by_one;
        }
        To::Everyone => {
            let all = state.sizes.everyone(app.corp, app_seq, tick).unwrap_or(account_cap);
            cost.person_times = all.min(account_cap).max(1);
            target.broadcast = one_by_one;
        }
        To::Members { users, others, parties, tags, unreadable } => {
            let sizes = &state.sizes;
            // No group has more members than the corp has accounts.
            let bounded = |size: Option<u64>| size.map_or(account_cap, |size| size.min(account_cap));
            let of_party = |&id: &u64| (id, bounded(sizes.department(app.corp, app_seq, id, tick)));
            let of_tag = |&id: &u64| (id, bounded(sizes.tag(app.corp, app_seq, id, tick)));
            let people = People {
                users: users.len() as u64 + others,
                parties: parties.iter().map(of_party).collect(),
                tags: tags.iter().map(of_tag).collect(),
                unreadable: unreadable.saturating_mul(account_cap),
            };
            let groups = people.parties.iter().chain(&people.tags).map(|(_, size)| *size);
            // Whether WeCom counts somebody who is in several of them once is not documented, so the sum has no bound.
            cost.person_times =
                groups.fold(people.users.saturating_add(people.unreadable), u64::saturating_add);
            let groups = !parties.is_empty() || !tags.is_empty() || *unreadable > 0;
            target.broadcast = one_by_one && (groups || users.len() > MEMBERS_MAX);
            if one_by_one && !target.broadcast {
                target.members.clone_from(users);
            }
            target.people = Some(people);
        }
        To::Chat => {
            let known = state.sizes.chat(app.corp, app_seq, ask.chat, tick);
            let most = CHAT_MEMBERS_MAX.min(account_cap);
            cost.person_times = known.map_or(most, |(members, _)| members.min(CHAT_MEMBERS_MAX)).max(1);
            match known {
                Some((_, hashes)) if one_by_one && !hashes.is_empty() && hashes.len() <= MEMBERS_MAX => {
                    target.members = hashes.to_vec();
                }
                _ => target.broadcast = one_by_one,
            }
        }
    }
    (cost, target)
}
