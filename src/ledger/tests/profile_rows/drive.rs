//! How a row is driven to its cap, and one over.

use crate::ledger::command::{Ask, To};
use crate::quota::{Limit, Mode, Operator, Unit, Window, shipped};

use super::core::{ACCOUNTS, CHAT, CHAT_OF_TWO, Core, Refused};

/// Caps beyond this are not reached call by call.
const CALL_BY_CALL: u64 = 40_000;
/// So many at once then, and in the end that many one by one.
const MANY: u64 = 1_000;

/// What takes from a row.
#[derive(Clone)]
pub(super) struct Load {
    /// Empty: no call does.
    pub(super) api: &'static str,
    pub(super) ask: Ask,
    /// What WeCom answers.
    errcode: i64,
    corps: u8,
    apps: u8,
    large: bool,
}

pub(super) fn calls(api: &'static str) -> Load {
    Load { api, ask: Ask::default(), errcode: 0, corps: 1, apps: 1, large: false }
}

/// No call takes from it: an operator declares it.
pub(super) fn declared() -> Load {
    calls("")
}

impl Load {
    pub(super) fn of_corps(self, corps: u8) -> Self {
        Self { corps, ..self }
    }

    pub(super) fn of_apps(self, apps: u8) -> Self {
        Self { apps, ..self }
    }

    pub(super) fn answered(self, errcode: i64) -> Self {
        Self { errcode, ..self }
    }

    fn asking(self, ask: Ask) -> Self {
        Self { ask, ..self }
    }

    pub(super) fn sent_to_members(self, members: u64) -> Self {
        let (users, parties, tags) = ((1..=members).collect(), vec![], vec![]);
        let to = To::Members { users, others: 0, parties, tags, unreadable: 0 };
        self.asking(Ask { to, ..Ask::default() })
    }

    pub(super) fn sent_to_a_chat_of_two(self) -> Self {
        self.asking(Ask { to: To::Chat, chat: CHAT_OF_TWO, ..Ask::default() })
    }

    /// It counts as 2,000 members.
    pub(super) fn sent_to_a_chat_of_unknown_size(self) -> Self {
        let asking = self.asking(Ask { to: To::Chat, chat: CHAT, ..Ask::default() });
        Self { large: true, ..asking }
    }

    pub(super) fn sent_to_a_robot(self) -> Self {
        self.asking(Ask { chat: CHAT, ..Ask::default() })
    }

    pub(super) fn making_an_account(self) -> Self {
        self.asking(Ask { accounts: 1, ..Ask::default() })
    }

    pub(super) fn setting_a_domain(self) -> Self {
        self.asking(Ask { domains: 1, ..Ask::default() })
    }
}

/// A row of a profile.
pub(super) struct Row {
    profile: String,
    operator: Operator,
    limit: Limit,
}

/// By the names of a test: its module is the profile, its function the row.
pub(super) fn row_of(profile: &str, row: &str) -> Row {
    let profile = profile.replace('_', "-");
    let (operator, row) = match row.strip_prefix("provider_") {
        Some(row) => (Operator::Provider, row),
        None => (Operator::Corp, row),
    };
    let name = row.replace('_', "-");
    let limits = shipped(&profile, operator).unwrap().limits;
    let limit = limits.into_iter().find(|limit| *limit.name == name);
    let limit = limit.unwrap_or_else(|| panic!("{profile} has no row {name}"));
    Row { profile, operator, limit }
}

pub(super) fn drive(row: &Row, load: &Load) {
    let limit = &row.limit;
    let mut core = Core::new(&row.profile, row.operator, load.corps, load.apps);
    if load.large {
        core.grow();
    }
    if limit.apis.is_empty() {
        assert_eq!(load.api, "", "{} can only be declared", limit.name);
        return by_declaring(&mut core, limit);
    }
    assert!(limit.matches(load.api));
    match (limit.window, limit.mode) {
        (Window::Concurrent, _) => at_the_same_time(&mut core, limit, load),
        (_, Mode::Shadow) => in_shadow(&mut core, limit, load),
        (_, Mode::Enforce) => by_calls(&mut core, limit, load),
    }
}

/// Callers go on by turns, and time passes where other rows hold all of them back.
fn fill(core: &mut Core, limit: &Limit, load: &Load) -> (usize, Refused) {
    let cap = limit.cap.amount(ACCOUNTS);
    let (mut taken, mut caller, mut held_back) = (0, 0, Vec::new());
    loop {
        let app = core.apps[caller];
        let many = limit.unit == Unit::Calls && cap > CALL_BY_CALL && taken > 0 && taken + 2 * MANY <= cap;
        let attempt = if many {
            core.attempt_many(app, load, MANY).map(|()| MANY)
        } else {
            core.attempt(app, load).map(|pending| {
                let takes = core.state.pendings[&pending].cost.of(limit.unit);
                core.settle(pending, load.errcode);
                takes
            })
        };
        match attempt {
            Ok(takes) => {
                taken += takes;
                assert!(takes > 0 && taken <= cap, "{taken} of {cap} passed");
                held_back.clear();
            }
            Err(refused) if refused.limit == *limit.name => {
                assert_eq!((taken, refused.used, refused.cap), (cap, cap, cap), "{refused:?}");
                return (caller, refused);
            }
            Err(other) => {
                held_back.push(other.retry_at.unwrap_or_else(|| panic!("never again: {other:?}")));
                caller = (caller + 1) % core.apps.len();
                if held_back.len() == core.apps.len() {
                    core.advance_to(held_back.drain(..).min().unwrap());
                }
            }
        }
    }
}

fn by_calls(core: &mut Core, limit: &Limit, load: &Load) {
    let (caller, refused) = fill(core, limit, load);
    let (app, retry_at) = (core.apps[caller], refused.retry_at.unwrap());
    assert!(retry_at > core.now.tick);
    core.advance_to(retry_at - 1);
    assert_eq!(core.attempt(app, load).unwrap_err().limit, *limit.name, "a millisecond before");
    core.advance_to(retry_at);
    assert!(core.attempt(app, load).is_ok(), "at the moment that the refusal had named");
}

fn at_the_same_time(core: &mut Core, limit: &Limit, load: &Load) {
    let (app, cap) = (core.apps[0], limit.cap.amount(ACCOUNTS));
    let under_way: Vec<_> = (0..cap).map(|_| core.attempt(app, load).unwrap()).collect();
    let refused = core.attempt(app, load).unwrap_err();
    assert_eq!((refused.limit.as_str(), refused.used, refused.cap), (&*limit.name, cap, cap));
    // However long it takes: none leaves before it is answered.
    core.advance_to(core.now.tick + 9_000);
    assert_eq!(core.attempt(app, load).unwrap_err().limit, *limit.name);
    core.settle(under_way[0], 0);
    assert!(core.attempt(app, load).is_ok(), "one has ended");
    assert!(core.attempt(app, load).is_err());
}

fn in_shadow(core: &mut Core, limit: &Limit, load: &Load) {
    let (app, cap) = (core.apps[0], limit.cap.amount(ACCOUNTS));
    for _ in 0..cap {
        let pending = core.attempt(app, load).unwrap();
        core.settle(pending, 0);
        assert_eq!(core.usage(&limit.name).map(|it| it.mode), Some(Mode::Shadow));
    }
    let shadowed = core.shadowed(app, load);
    let [(name, used, of, Some(retry_at))] = &shadowed[..] else { panic!("{shadowed:?}") };
    assert_eq!((name.as_str(), *used, *of), (&*limit.name, cap, cap));
    let pending = core.attempt(app, load).unwrap_or_else(|refused| panic!("{refused:?}"));
    core.settle(pending, 0);
    assert_eq!(core.usage(&limit.name).unwrap().reading.used, cap + 1);
    core.advance_to(retry_at - 1);
    assert_eq!(core.shadowed(app, load).len(), 1, "a millisecond before");
    core.advance_to(*retry_at);
    assert!(core.shadowed(app, load).is_empty(), "at the moment that had been named");
}

/// A declaration is a fact and never refused: one over shows as such, and its window empties like any other.
fn by_declaring(core: &mut Core, limit: &Limit) {
    let cap = limit.cap.amount(ACCOUNTS);
    let unit = serde_json::to_value(limit.unit).unwrap();
    let article = if limit.unit == Unit::Reads { 77 } else { 0 };
    let declare = |core: &mut Core, amount| core.declare(unit.as_str().unwrap(), amount, article);
    declare(core, cap as i64 - 1);
    assert_eq!(core.usage(&limit.name).unwrap().reading.remaining, 1);
    declare(core, 1);
    let full = core.usage(&limit.name).unwrap().reading;
    assert_eq!((full.used, full.cap, full.remaining), (cap, cap, 0));
    declare(core, 1);
    let over = core.usage(&limit.name).unwrap().reading;
    assert_eq!((over.used, over.cap, over.remaining), (cap + 1, cap, 0));
    if limit.window == Window::Total {
        assert_eq!(over.resets_at, None);
        declare(core, -2);
        assert_eq!(core.usage(&limit.name).unwrap().reading.remaining, 1);
        return;
    }
    let resets_at = over.resets_at.unwrap();
    core.advance_to(resets_at - 1);
    assert_eq!(core.usage(&limit.name).unwrap().reading.used, cap + 1, "a millisecond before");
    core.advance_to(resets_at);
    assert_eq!(core.usage(&limit.name), None, "at the moment that had been named");
}
