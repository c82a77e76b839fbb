//! Requests that come again.

use crate::ledger::command::{Admit, Ask, Caller, Command, Now, Outcome, Rejected, Reply};
use crate::ledger::decide::decide;
use crate::ledger::entry::{Once, Seq};
use crate::ledger::remembered::{
    Before, Ended, REMEMBERED_FOR_MS, REMEMBERED_MAX, REMEMBERED_OF_KEY_MAX, Remembered,
};

use super::fold;
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
    let voided = Reply::Remembered { pending, ended: Some(Ended::Voided) };
    assert_eq!(come(&mut world, app, once(1, 1, 0)), voided);
    for from_snapshot in [false, true] {
        world.start(0, Fate::Acknowledged);
        if from_snapshot {
            world.restore(0);
        }
        assert_eq!(come(&mut world, app, once(1, 1, 0)), voided);
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
    assert_eq!(come(&mut world, app, once(1, 1, 1)), Reply::Remembered { pending: second, ended: None });
    assert_eq!(come(&mut world, app, once(1, 1, 0)), Reply::Remembered { pending: first, ended: None });
}

#[test]
fn a_request_that_comes_again_learns_that_its_call_has_ended() {
    let (mut world, [app, _]) = world();
    for (key, how) in [(1, Ended::Posted), (2, Ended::Voided), (3, Ended::Expired)] {
        let calls = [0, 1, 2].map(|part| match come(&mut world, app, once(key, 1, part)) {
            Reply::Admitted { pending, .. } => pending,
            other => panic!("{other:?}"),
        });
        let reason = "says the client".to_owned();
        let outcome = match how {
            Ended::Posted => super::penalty_tests::posted(Some(0)),
            Ended::Voided => Outcome::Voided { reason },
            Ended::Expired => Outcome::Expired { reason },
        };
        act(&mut world, Command::Settle { pending: calls[1], outcome, caller: None });
        for (part, pending) in (0..).zip(calls) {
            let ended = (part == 1).then_some(how);
            assert_eq!(come(&mut world, app, once(key, 1, part)), Reply::Remembered { pending, ended });
        }
        world.everybody_agrees();
    }
}

#[test]
fn a_call_whose_time_is_over_is_no_permission_though_its_end_is_not_written_yet() {
    let (mut world, [app, _]) = world();
    let Reply::Admitted { pending, deadline, .. } = come(&mut world, app, once(1, 1, 0)) else { panic!() };
    let (state, again) = (fold(&world.rows), reserve(&world, app, once(1, 1, 0)));
    let at = |tick| decide(&state, again.clone(), Now { tick, at: state.at }, None).reply;
    assert_eq!(at(deadline - 1), Reply::Remembered { pending, ended: None });
    assert_eq!(at(deadline + 60_000), Reply::Remembered { pending, ended: Some(Ended::Expired) });
}

fn numbered(i: usize) -> Once {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(i as u64).to_be_bytes());
    Once { key, request: [1; 16], part: 0 }
}

#[test]
fn a_full_memory_refuses_and_forgets_nothing_before_its_time() {
    let mut memory = Remembered::default();
    let later = 5 + REMEMBERED_FOR_MS;
    for i in 1..=REMEMBERED_MAX {
        let (key, since) = ((i % 2) as Seq, if i == 1 { 5 } else { 6 });
        assert_eq!(memory.look(key, &numbered(i), since), Before::New);
        memory.keep(key, &numbered(i), i as Seq, since);
    }
    assert_eq!(memory.look(2, &numbered(0), 6), Before::Full(later), "when the first one is forgotten");
    assert_eq!(memory.look(1, &numbered(1), 6), Before::Same(1, None));
    // When its day is over there is room again, also before anything was written.
    assert_eq!(memory.look(2, &numbered(0), later - 1), Before::Full(later));
    assert_eq!(memory.look(2, &numbered(0), later), Before::New);
    memory.keep(2, &numbered(0), 1_000_000, later);
    assert_eq!(memory.look(1, &numbered(1), later), Before::Full(later + 1), "for one more call only");
    assert_eq!(memory.look(1, &numbered(1), later + 1), Before::New);
}

#[test]
fn one_busy_key_fills_its_share_and_the_others_are_remembered_as_before() {
    let mut memory = Remembered::default();
    for i in 0..REMEMBERED_OF_KEY_MAX {
        memory.keep(7, &numbered(i), i as Seq, 5);
    }
    let later = 5 + REMEMBERED_FOR_MS;
    assert_eq!(memory.look(7, &numbered(REMEMBERED_OF_KEY_MAX), 6), Before::Full(later));
    assert_eq!(memory.look(7, &numbered(3), 6), Before::Same(3, None));
    assert_eq!(memory.look(8, &numbered(3), 6), Before::New);
    memory.keep(8, &numbered(3), 1_000_000, 6);
    assert_eq!(memory.look(7, &numbered(REMEMBERED_OF_KEY_MAX), later), Before::New);
    memory.keep(7, &numbered(3), 2_000_000, later);
    assert_eq!(memory.look(8, &numbered(3), later), Before::Same(1_000_000, None));
    assert_eq!(memory.look(7, &numbered(4), later), Before::New, "all others of that day are forgotten");
}
