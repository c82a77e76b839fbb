//! What happens when no more keys of limits can be counted.

use crate::ledger::apply::apply;
use crate::ledger::command::{Command, Now, Refusal, Rejected, Reply};
use crate::ledger::decide::decide;
use crate::ledger::entry::{Body, CallRefused, Draft, Entry};
use crate::ledger::state::State;
use crate::quota::{KEYS, Operator, Rule, Unit};

use super::fold;
use super::penalty_tests::{admit, call_of, voided};
use super::rule_tests::{act, world};

fn now(state: &State, later: i64) -> Now {
    Now { tick: state.tick + later, at: state.at + later }
}

/// What was decided is applied, as of its moment.
fn applied(state: &mut State, drafts: Vec<Draft>, at: Now) {
    for Draft { refs, body, .. } in drafts {
        let entry =
            Entry { seq: state.head + 1, tick: at.tick, at: at.at, process: None, actor: None, refs, body };
        apply(state, &entry);
    }
}

#[test]
fn a_call_without_room_for_its_keys_is_refused_on_record_and_that_makes_room() {
    let (mut world, [app, other]) = world();
    let pending = call_of(&mut world, app, "user/get");
    let admit = admit(&world, other, "user/list");
    let mut state = fold(&world.rows);
    let keys = state.meters.clone().with_keys_max(0).many_keys().unwrap().0;
    state.meters = state.meters.with_keys_max(keys);
    let refused = |state: &State, at| {
        let decision = decide(state, admit.clone(), at, None);
        let Reply::Refused(Refusal::Limit { reading, retry_at, .. }) = decision.reply else { return None };
        Some((reading, retry_at, decision.drafts))
    };
    let first = now(&state, 1);
    let (reading, retry_at, drafts) = refused(&state, first).unwrap();
    assert_eq!((&*reading.limit, reading.used, reading.cap), (KEYS, keys as u64, keys as u64));
    assert_eq!(retry_at, Some(first.tick + 60_000));
    let record = drafts.iter().find_map(|draft| match &draft.body {
        Body::CallRefused(refused) => Some(refused.clone()),
        _ => None,
    });
    let (limit, errcode, used) = (KEYS.to_owned(), 45009, keys as u64);
    let expected = CallRefused { limit, rule: Rule::Limit, errcode, used, cap: used, count: 1 };
    assert_eq!(record, Some(expected));
    applied(&mut state, drafts, first);
    // While the first call is in flight its keys are no more idle than before.
    assert!(refused(&state, now(&state, 1)).is_some());
    let settle = Command::Settle { pending, outcome: voided(), caller: None };
    let void = decide(&state, settle, now(&state, 2), None);
    let at = now(&state, 2);
    applied(&mut state, void.drafts, at);
    let (.., drafts) = refused(&state, now(&state, 2_000)).expect("nothing has looked for idle keys yet");
    let at = now(&state, 2_000);
    applied(&mut state, drafts, at);
    assert!(refused(&state, now(&state, 1)).is_none());
}

#[test]
fn a_declaration_without_room_for_its_key_is_refused() {
    let (mut world, _) = world();
    act(
        &mut world,
        Command::PutLimits { profile: "wecom-2023".to_owned(), operator: Operator::Corp, own: None },
    );
    let mut state = fold(&world.rows);
    state.meters = state.meters.with_keys_max(0);
    let corp_id = state.directory.corps.values().next().unwrap().corp_id.clone();
    let declare = Command::Declare {
        corp_id,
        agent_id: None,
        api: None,
        unit: Unit::Reads,
        amount: 5,
        note: String::new(),
        article: 7,
    };
    let reply = decide(&state, declare, now(&state, 1), None).reply;
    assert!(matches!(reply, Reply::Rejected(Rejected::Conflict(_))), "{reply:?}");
}
