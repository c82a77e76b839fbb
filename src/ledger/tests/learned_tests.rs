//! Caps that are learned where WeCom is full long before we are.

use crate::ledger::Kind;
use crate::ledger::command::{Command, Reply};
use crate::ledger::entry::{Body, CapLearned, Drift, PenaltyEnded, Seq};
use crate::quota::{Facets, Operator, Rule};

use super::fold;
use super::ops::Fate;
use super::penalty_tests::{answered, call, cap, count, posted, settle, started};
use super::rule_tests::{act, world};
use super::world::World;

const LIMIT: &str = "corp-api-minute";

/// WeCom lets `through` calls pass, refuses one, and lets calls in again when its block is over. A minute later the
/// window is empty.
fn drift(world: &mut World, app: Seq, through: usize) {
    for _ in 0..through {
        answered(world, app, 0);
    }
    answered(world, app, 45009);
    world.machine.real += 61_000;
    answered(world, app, 0);
    world.machine.real += 61_000;
}

fn learned(world: &World) -> Vec<(Seq, CapLearned)> {
    let entries = world.rows.iter().map(|row| row.entry().unwrap());
    let caps = entries.filter_map(|entry| match entry.body {
        Body::CapLearned(x) => Some((entry.seq, x)),
        _ => None,
    });
    caps.collect()
}

fn ended(world: &World) -> PenaltyEnded {
    let last = world.rows.iter().rfind(|row| row.kind == Kind::PenaltyEnded).unwrap();
    match last.entry().unwrap().body {
        Body::PenaltyEnded(x) => x,
        other => panic!("{other:?}"),
    }
}

/// How many calls pass until a limit refuses.
fn passing(world: &mut World, app: Seq) -> usize {
    use super::penalty_tests::admit;
    let mut passed = 0;
    loop {
        let admit = admit(world, app, "user/get");
        match act(world, admit) {
            Reply::Admitted { pending, .. } => settle(world, pending, posted(Some(0))),
            Reply::Refused(_) => return passed,
            other => panic!("{other:?}"),
        }
        passed += 1;
    }
}

#[test]
fn a_drift_is_on_record_with_what_wecom_had_let_through() {
    let (mut world, [app, _]) = world();
    drift(&mut world, app, 7);
    let incident = started(&world)[0].0;
    let drift = Drift { incident, limit: LIMIT.to_owned(), cap: 1000, accepted: 7 };
    assert_eq!(ended(&world).drift, Some(drift));
    assert_eq!(learned(&world).len(), 0, "once is no reason");
}

#[test]
fn a_second_drift_lowers_the_cap_to_the_most_that_wecom_let_through() {
    let (mut world, [app, other]) = world();
    drift(&mut world, app, 7);
    drift(&mut world, other, 5);
    let (_, x) = learned(&world).pop().unwrap();
    assert_eq!((x.limit.as_str(), x.cap, x.before), (LIMIT, 7, 1000));
    let incidents: Vec<Seq> = started(&world).iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(x.drifts.iter().map(|it| it.incident).collect::<Vec<_>>(), incidents);
    let row = world.rows.last().unwrap();
    assert_eq!((row.kind, row.app), (Kind::CapLearned, None), "the limit does not tell apps apart");
    assert!(row.corp.is_some() && row.api.is_some());
    assert_eq!(passing(&mut world, app), 7);
    world.everybody_agrees();
}

#[test]
fn a_drift_of_another_api_or_a_nearly_full_limit_is_no_reason() {
    let (mut world, [app, _]) = world();
    drift(&mut world, app, 7);
    cap(&mut world, LIMIT, 10);
    drift(&mut world, app, 8);
    assert_eq!(ended(&world).drift, None, "9 of 10 is nearly full: that is what the profile says");
    cap(&mut world, LIMIT, 1000);
    for _ in 0..2 {
        let first = super::penalty_tests::call_of(&mut world, app, "department/list");
        settle(&mut world, first, posted(Some(45009)));
        world.machine.real += 61_000;
        let again = super::penalty_tests::call_of(&mut world, app, "department/list");
        settle(&mut world, again, posted(Some(0)));
        world.machine.real += 61_000;
    }
    let all = learned(&world);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1.cap, 1, "never below 1, though nothing was let through");
    let facets = |world: &World, api: &str| {
        let state = fold(&world.rows);
        let corp = state.directory.corp("corp").unwrap().0;
        Facets { corp, api: state.directory.api(api).unwrap(), ..Facets::default() }
    };
    let state = fold(&world.rows);
    assert_eq!(state.meters.learned(LIMIT, &facets(&world, "department/list")), Some(1));
    assert_eq!(state.meters.learned(LIMIT, &facets(&world, "user/get")), None);
}

#[test]
fn how_long_wecom_blocks_tells_which_limit_it_meant() {
    let (mut world, [app, _]) = world();
    for _ in 0..2 {
        (0..6).for_each(|_| answered(&mut world, app, 0));
        answered(&mut world, app, 45009);
        world.machine.real += 61_000;
        // Not the minute: the one that tries is refused as well.
        answered(&mut world, app, 45009);
        world.machine.real += 3_600_000;
        answered(&mut world, app, 0);
        world.machine.real += 3_700_000;
    }
    let (_, x) = learned(&world).pop().unwrap();
    assert_eq!((x.limit.as_str(), x.cap, x.before), ("corp-api-hour", 6, 30_000));
    assert_eq!(x.drifts.iter().map(|it| it.accepted).collect::<Vec<_>>(), [6, 6]);
}

#[test]
fn calls_without_an_outcome_are_not_taken_for_let_through() {
    let (mut world, [app, _]) = world();
    for _ in 0..2 {
        (0..4).for_each(|_| answered(&mut world, app, 0));
        let under_way: Vec<Seq> = (0..5).map(|_| call(&mut world, app)).collect();
        for pending in under_way {
            settle(&mut world, pending, posted(Some(45009)));
        }
        world.machine.real += 61_000;
        answered(&mut world, app, 0);
        world.machine.real += 61_000;
    }
    assert_eq!(learned(&world)[0].1.cap, 4);
    let counted = started(&world)[0].2.counted.iter().find(|it| it.limit == LIMIT).cloned().unwrap();
    assert_eq!((counted.used, counted.in_flight, counted.rule), (9, 5, Rule::Limit));
}

#[test]
fn a_refusal_within_a_learned_cap_lowers_it_again_and_nothing_raises_it() {
    let (mut world, [app, _]) = world();
    (0..2).for_each(|_| drift(&mut world, app, 10));
    assert_eq!(learned(&world)[0].1.cap, 10);
    // Nearly full, but of a cap that was only learned.
    (0..2).for_each(|_| drift(&mut world, app, 9));
    let all = learned(&world);
    assert_eq!((all.len(), all[1].1.cap, all[1].1.before), (2, 9, 10));
    let state = fold(&world.rows);
    assert_eq!(state.learned.caps().map(|(_, cap)| cap.seq).collect::<Vec<_>>(), [all[1].0], "one holds");
    world.everybody_agrees();
}

#[test]
fn an_operator_takes_a_learned_cap_back_and_calls_pass_at_once() {
    let (mut world, [app, _]) = world();
    (0..2).for_each(|_| drift(&mut world, app, 3));
    let (seq, _) = learned(&world).pop().unwrap();
    assert_eq!(passing(&mut world, app), 3);
    let restore = Command::RestoreCap { learned: seq };
    assert!(matches!(act(&mut world, restore.clone()), Reply::Done { changed: true, .. }));
    assert_eq!(world.rows.last().unwrap().kind, Kind::CapRestored);
    assert_eq!(passing(&mut world, app), 997);
    assert!(matches!(act(&mut world, restore), Reply::Rejected(_)), "it holds no more");
    world.machine.real += 61_000;
    drift(&mut world, app, 3);
    assert_eq!(learned(&world).len(), 1, "what was before is no reason any more");
    world.everybody_agrees();
}

#[test]
fn drifts_of_last_week_are_no_reason() {
    let (mut world, [app, _]) = world();
    drift(&mut world, app, 3);
    world.machine.real += 7 * 86_400_000;
    drift(&mut world, app, 3);
    assert_eq!(learned(&world).len(), 0);
    drift(&mut world, app, 3);
    assert_eq!(learned(&world).len(), 1);
}

#[test]
fn a_process_that_was_not_told_to_learn_only_takes_note() {
    let (mut world, [app, _]) = world();
    let start = Command::StartProcess {
        instance: "another".to_owned(),
        pid: 1,
        egress_ip: "192.0.2.0".to_owned(),
        version: "1".to_owned(),
        learn_caps_after: None,
        webhook: true,
    };
    let Reply::Done { seq, .. } = act(&mut world, start) else { panic!() };
    let learner = world.processes[0].seq.replace(seq);
    (0..2).for_each(|_| drift(&mut world, app, 3));
    assert_eq!(learned(&world).len(), 0);
    world.processes[0].seq = learner;
    drift(&mut world, app, 2);
    let (_, x) = learned(&world).pop().unwrap();
    assert_eq!((x.cap, x.drifts.len()), (3, 3));
}

#[test]
fn a_block_that_an_operator_ended_tells_nothing() {
    let (mut world, [app, _]) = world();
    for _ in 0..3 {
        answered(&mut world, app, 45009);
        let penalty = started(&world).last().unwrap().0;
        act(&mut world, Command::ClearPenalty { started: penalty });
        world.machine.real += 61_000;
    }
    assert_eq!((learned(&world).len(), count(&world, Kind::PenaltyEnded)), (0, 0));
}

#[test]
fn a_learned_cap_survives_restarts_snapshots_and_a_change_of_profile() {
    let (mut world, [app, _]) = world();
    (0..2).for_each(|_| drift(&mut world, app, 3));
    world.take_snapshot(0);
    for from_snapshot in [false, true] {
        world.start(0, Fate::Acknowledged);
        if from_snapshot {
            world.restore(0);
        }
        world.everybody_agrees();
    }
    for profile in ["wecom-2023", "qyh-2015"] {
        let profile = profile.to_owned();
        act(&mut world, Command::PutLimits { profile, operator: Operator::Corp, own: None });
        assert_eq!(fold(&world.rows).learned.caps().count(), 1);
    }
    assert_eq!(passing(&mut world, app), 3);
    let text = "name = \"own\"\n[[limit]]\nname = \"corp-api-minute\"\napis = \"*\"\nscope = [\"corp\"]\n\
                unit = \"calls\"\nwindow = \"60s\"\ncap = 9\nsource = \"made up\"\n";
    let own = Some(Box::new(crate::quota::Profile::from_toml(text).unwrap()));
    act(&mut world, Command::PutLimits { profile: "own".to_owned(), operator: Operator::Corp, own });
    assert_eq!(fold(&world.rows).learned.caps().count(), 0, "a limit of that name tells other things apart");
}
