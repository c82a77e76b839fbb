//! Requests that come again.

use crate::ledger::apply::apply;
use crate::ledger::command::{Admit, Ask, Caller, Command, Outcome, Rejected, Reply};
use crate::ledger::entry::{Body, Once, Seq};
use crate::ledger::remembered::{Before, REMEMBERED_FOR_MS, REMEMBERED_MAX};
use crate::ledger::{Row, State};

use super::ops::Fate;
use super::rule_tests::{act, world};
use super::world::World;

fn once(key: u8, request: u8, part: u16) -> Once {
    Once { key: [key; 16], request: [request; 16], part }
}

fn reserve(world: &World, app: Seq, once: Once) -> Command {
    Command::Reserve(Admit {
        caller: Caller::Secret(world.naive.tokens.apps[&app].secret),
        app,
        api: "message/send".to_owned(),
        method: "POST".to_owned(),
        ask: Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 60_000,
        request_bytes: 0,
        request_sha256: None,
        once: Some(once),
        line: crate::ledger::command::InLine::default(),
    })
}

fn come(world: &mut World, app: Seq, once: Once) -> Reply {
    let reserve = reserve(world, app, once);
    act(world, reserve)
}

#[test]
fn a_request_is_remembered_for_a_day_whatever_became_of_its_call_and_over_restarts() {
    let (mut world, [app, _]) = world();
    let Reply::Admitted { pending, .. } = come(&mut world, app, once(1, 1, 0)) else { panic!() };
    let outcome = Outcome::Voided { reason: "not sent".to_owned() };
    act(&mut world, Command::Settle { pending, outcome, caller: None });
    world.take_snapshot(0);
    world.machine.real += REMEMBERED_FOR_MS - 1;
    assert_eq!(come(&mut world, app, once(1, 1, 0)), Reply::Remembered { pending });
    for from_snapshot in [false, true] {
        world.start(0, Fate::Acknowledged);
        if from_snapshot {
            world.restore(0);
        }
        assert_eq!(come(&mut world, app, once(1, 1, 0)), Reply::Remembered { pending });
        assert!(matches!(come(&mut world, app, once(1, 2, 0)), Reply::Rejected(Rejected::Conflict(_))));
        world.everybody_agrees();
    }
    world.machine.real += 1;
    assert!(matches!(come(&mut world, app, once(1, 2, 0)), Reply::Admitted { .. }));
}

#[test]
fn the_calls_of_one_request_are_told_apart() {
    let (mut world, [app, _]) = world();
    let Reply::Admitted { pending: first, .. } = come(&mut world, app, once(1, 1, 0)) else { panic!() };
    let Reply::Admitted { pending: second, .. } = come(&mut world, app, once(1, 1, 1)) else { panic!() };
    assert_eq!(come(&mut world, app, once(1, 1, 1)), Reply::Remembered { pending: second });
    assert_eq!(come(&mut world, app, once(1, 1, 0)), Reply::Remembered { pending: first });
}

#[test]
fn a_full_memory_refuses_and_forgets_nothing_before_its_time() {
    let (mut world, [app, _]) = world();
    come(&mut world, app, once(1, 1, 0));
    let entry = world.rows.iter().rev().find_map(|row| {
        let entry = row.entry().unwrap();
        matches!(entry.body, Body::CallPending(_)).then_some(entry)
    });
    let (mut entry, mut state) = (entry.unwrap(), super::fold(&world.rows));
    let Body::CallPending(pending) = entry.body.clone() else { panic!() };
    let key = |i: usize| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&(i as u64).to_be_bytes());
        key
    };
    let mut fill = |state: &mut State, i: usize| {
        entry.seq = state.head + 1;
        let once = Some(Once { key: key(i), request: [1; 16], part: 0 });
        entry.body = Body::CallPending(crate::ledger::entry::CallPending { once, ..pending.clone() });
        apply(state, &Row::of(&entry).entry().unwrap());
    };
    for i in 1..REMEMBERED_MAX {
        fill(&mut state, i);
    }
    let tick = state.tick;
    let new = Once { key: [9; 16], request: [1; 16], part: 0 };
    assert_eq!(state.remembered.look(0, &new, tick), Before::Full);
    assert!(matches!(state.remembered.look(0, &once(1, 1, 0), tick), Before::Same(_)));
    // When their day is over there is room again, also before anything was written.
    let later = tick + REMEMBERED_FOR_MS;
    assert_eq!(state.remembered.look(0, &new, later), Before::New);
    assert_eq!(state.remembered.look(0, &once(1, 2, 0), later), Before::New);
}
