//! What a call may have made larger is not taken for as large as before.

use crate::ledger::command::{Command, EndedHow, Outcome, Reply};
use crate::ledger::entry::{Seq, Size};

use super::fold;
use super::penalty_tests::{admit, call_of, posted, settle};
use super::rule_tests::{act, world};
use super::world::World;

/// The sizes of a department, a tag, a chat and the scope.
type Known = [Option<u64>; 4];

const ALL: Known = [Some(3), Some(4), Some(5), Some(6)];

fn informed() -> (World, Seq) {
    let (mut world, [app, _]) = world();
    for size in [
        Size::Department { id: 1, with_children: true, members: 3 },
        Size::Tag { id: 1, members: 4, parties: vec![] },
        Size::Chat { chat: 1, members: 5, hashes: vec![] },
        Size::Scope { users: 6, parties: vec![], tags: vec![] },
    ] {
        act(&mut world, Command::Learn { app, size, call: 1 });
    }
    assert_eq!(known(&world, app), ALL);
    (world, app)
}

fn known(world: &World, app: Seq) -> Known {
    let state = fold(&world.rows);
    let (corp, tick) = (state.directory.apps[&app].corp, world.rows.last().unwrap().tick);
    let chat = state.sizes.chat(corp, app, 1, tick).map(|(members, _)| members);
    let sizes = &state.sizes;
    [
        sizes.department(corp, app, 1, tick),
        sizes.tag(corp, app, 1, tick),
        chat,
        sizes.everyone(corp, app, tick),
    ]
}

/// All but one.
fn without(place: usize) -> Known {
    let mut known = ALL;
    known[place] = None;
    known
}

const ENLARGING: [(&str, usize); 5] = [
    ("user/update", 0),
    ("batch/syncuser", 0),
    ("tag/addtagusers", 1),
    ("appchat/update", 2),
    ("agent/set_scope", 3),
];

fn expired() -> Outcome {
    Outcome::Expired { reason: "timeout".to_owned() }
}

#[test]
fn a_call_that_enlarges_something_by_an_unknown_number_leaves_no_size_of_it() {
    for (api, place) in ENLARGING {
        for outcome in [expired(), posted(Some(-1)), posted(None), posted(Some(0))] {
            let (mut world, app) = informed();
            let pending = call_of(&mut world, app, api);
            settle(&mut world, pending, outcome.clone());
            assert_eq!(known(&world, app), without(place), "{api} {outcome:?}");
        }
        for outcome in [posted(Some(60_011)), Outcome::Voided { reason: "not sent".to_owned() }] {
            let (mut world, app) = informed();
            let pending = call_of(&mut world, app, api);
            settle(&mut world, pending, outcome.clone());
            assert_eq!(known(&world, app), ALL, "{api} {outcome:?}");
        }
    }
}

/// A corp with a declared department and tag, and what they have after a call that ends so.
fn declared(calls: &[(&str, Outcome, Option<Vec<Size>>)]) -> [Option<u64>; 2] {
    let (mut world, [app, _]) = world();
    for size in [
        Size::Department { id: 1, with_children: true, members: 4 },
        Size::Tag { id: 1, members: 4, parties: vec![] },
    ] {
        let (corp_id, agent_id, by) = ("corp".to_owned(), None, None);
        act(&mut world, Command::DeclareSize { corp_id, agent_id, size, by });
    }
    for (api, outcome, taught) in calls {
        let pending = call_of(&mut world, app, api);
        let (outcome, taught) = (outcome.clone(), taught.clone());
        act(&mut world, Command::SettleTaught { pending, outcome, taught });
    }
    let [department, tag, ..] = known(&world, app);
    [department, tag]
}

#[test]
fn a_declared_size_grows_by_what_calls_say_and_holds_no_more_where_they_do_not() {
    let grown = || Some(vec![Size::TagGrown { id: 1, members: 2, parties: vec![] }]);
    assert_eq!(declared(&[("tag/addtagusers", posted(Some(0)), grown())]), [Some(4), Some(6)]);
    for outcome in [expired(), posted(Some(0)), posted(Some(-1))] {
        assert_eq!(declared(&[("tag/addtagusers", outcome.clone(), None)]), [Some(4), None]);
        assert_eq!(declared(&[("department/update", outcome.clone(), None)]), [None, None]);
        // Who moves is no more than who was there: the operator's word holds.
        assert_eq!(declared(&[("user/update", outcome.clone(), None)]), [Some(4), Some(4)]);
        // One call creates one account.
        let create = ("user/create", outcome, None);
        assert_eq!(declared(&[create.clone(), create]), [Some(6), Some(6)]);
    }
    assert_eq!(declared(&[("user/create", posted(Some(60_102)), None)]), [Some(4), Some(4)]);
}

#[test]
fn each_account_whose_creation_nobody_answers_for_may_be_in_a_declared_department() {
    let (mut world, [app, _]) = world();
    let size = Size::Department { id: 1, with_children: true, members: 4 };
    act(&mut world, Command::DeclareSize { corp_id: "corp".to_owned(), agent_id: None, size, by: None });
    call_of(&mut world, app, "user/create");
    call_of(&mut world, app, "user/create");
    world.machine.real += 3_600_000;
    let next = admit(&world, app, "user/get");
    act(&mut world, next);
    assert_eq!(known(&world, app)[0], Some(6));
}

#[test]
fn what_the_answer_says_of_it_is_written_with_the_outcome() {
    let (mut world, app) = informed();
    let mut taught = |api: &str, taught: Vec<Size>| {
        let pending = call_of(&mut world, app, api);
        let (outcome, taught) = (posted(Some(0)), Some(taught));
        let reply = act(&mut world, Command::SettleTaught { pending, outcome, taught });
        assert!(matches!(reply, Reply::Settled { .. }), "{reply:?}");
        known(&world, app)
    };
    assert_eq!(taught("user/update", vec![]), ALL, "nobody has moved");
    let grown = Size::TagGrown { id: 1, members: 2, parties: vec![] };
    assert_eq!(taught("tag/addtagusers", vec![grown]), [Some(3), Some(6), Some(5), Some(6)]);
    let joined = Size::Joined { departments: 1 };
    assert_eq!(taught("user/create", vec![joined])[0], Some(4));
    // More departments than an entry holds.
    let endless = Size::TagGrown { id: 1, members: 0, parties: (0..10_001).collect() };
    assert_eq!(taught("tag/addtagusers", vec![endless])[1], None);
}

#[test]
fn calls_that_nobody_answers_for_any_more_leave_no_size_either() {
    let (mut world, app) = informed();
    call_of(&mut world, app, "tag/addtagusers");
    call_of(&mut world, app, "tag/addtagusers");
    let process = world.processes[0].seq.unwrap();
    world.start(1, super::ops::Fate::Acknowledged);
    let before = world.rows.len();
    world.command(1, Command::EndProcess { process, how: EndedHow::Died }, super::ops::Fate::Acknowledged);
    assert_eq!(known(&world, app), without(1));
    assert_eq!(world.rows.len() - before, 4, "two that expire, what is forgotten once, the end");
    let (mut world, app) = informed();
    call_of(&mut world, app, "agent/set_scope");
    world.machine.real += 3_600_000;
    let next = admit(&world, app, "user/get");
    act(&mut world, next);
    assert_eq!(known(&world, app), without(3));
}
