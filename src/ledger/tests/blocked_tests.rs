//! Whose calls WeCom's blocks hold back, and which call finds out that one is over.

use crate::ledger::Kind;
use crate::ledger::command::{Admit, Ask, Command, Refusal, Reply, To};
use crate::ledger::entry::{Blocks, Body, PenaltyLevel, Seq};

use super::penalty_tests::{
    admit, answered, blocked_world, call, cap, count, held, newest, posted, settle, started,
};
use super::rule_tests::{act, world};
use super::world::World;

fn messages_of_2023() -> (World, [Seq; 2]) {
    let (mut world, apps) = world();
    let (profile, operator) = ("wecom-2023".to_owned(), crate::quota::Operator::Corp);
    act(&mut world, Command::PutLimits { profile, operator, own: None });
    (world, apps)
}

/// An API, and what is asked of it.
type What = (&'static str, Ask);

fn message() -> What {
    ("message/send", Ask { to: To::Count(1), ..Ask::default() })
}

fn to_robot() -> What {
    ("webhook/send", Ask { chat: 7, ..Ask::default() })
}

fn admitted(world: &mut World, app: Seq, (api, ask): &What) -> Seq {
    let Command::Admit(admit) = admit(world, app, api) else { panic!() };
    match act(world, Command::Admit(Admit { ask: ask.clone(), ..admit })) {
        Reply::Admitted { pending, .. } => pending,
        other => panic!("{other:?}"),
    }
}

fn refused(world: &mut World, app: Seq, what: &What) {
    let pending = admitted(world, app, what);
    settle(world, pending, posted(Some(45009)));
}

#[test]
fn a_45009_on_an_apps_own_budget_holds_back_that_app_for_a_minute_first() {
    let (mut world, [app, other]) = messages_of_2023();
    refused(&mut world, app, &message());
    let (_, _, x) = started(&world).pop().unwrap();
    assert_eq!((x.blocks, x.whose, x.limit), (Blocks::App, app, None));
    assert_eq!(newest(&world), (PenaltyLevel::Minute, 60_000));
    admitted(&mut world, other, &message());
    // The only limit that it can be is the day's.
    world.machine.real += 60_000;
    refused(&mut world, app, &message());
    assert_eq!(newest(&world).0, PenaltyLevel::Day);
    assert_eq!(started(&world).pop().unwrap().2.blocks, Blocks::App);
}

#[test]
fn a_45009_on_a_group_robot_holds_back_no_other_app() {
    let (mut world, [app, other]) = messages_of_2023();
    refused(&mut world, app, &to_robot());
    assert_eq!(started(&world).pop().unwrap().2.blocks, Blocks::App);
    admitted(&mut world, other, &to_robot());
}

/// A call that the client makes itself.
fn reserved(world: &mut World, app: Seq, timeout_ms: u32) -> Option<Seq> {
    let Command::Admit(admit) = admit(world, app, "user/get") else { panic!() };
    match act(world, Command::Reserve(Admit { timeout_ms, ..admit })) {
        Reply::Admitted { pending, .. } => Some(pending),
        Reply::Refused(Refusal::Blocked { .. }) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_the_client_makes_itself_is_not_the_one_that_tries() {
    let (mut world, [app, _]) = blocked_world();
    world.machine.real += 60_000;
    let slow = reserved(&mut world, app, 3_600_000).unwrap();
    let trying = call(&mut world, app);
    assert!(held(&mut world, app).is_some() && reserved(&mut world, app, 1).is_none());
    settle(&mut world, slow, posted(Some(0)));
    assert_eq!(count(&world, Kind::PenaltyEnded), 0, "its client may say what it likes");
    settle(&mut world, trying, posted(Some(0)));
    assert_eq!(count(&world, Kind::PenaltyEnded), 1);
}

#[test]
fn after_a_minute_without_an_answer_another_call_may_try() {
    let (mut world, [app, _]) = blocked_world();
    world.machine.real += 60_000;
    let Command::Admit(admit) = admit(&world, app, "user/get") else { panic!() };
    let slow = Command::Admit(Admit { timeout_ms: 600_000, ..admit });
    let Reply::Admitted { pending: slow, .. } = act(&mut world, slow) else { panic!() };
    world.machine.real += 59_999;
    assert!(held(&mut world, app).is_some());
    world.machine.real += 1;
    let second = call(&mut world, app);
    assert!(held(&mut world, app).is_some(), "one at a time");
    // Whichever of them is refused first, WeCom blocks longer, and the other says nothing new.
    settle(&mut world, slow, posted(Some(45009)));
    settle(&mut world, second, posted(Some(45009)));
    assert_eq!((started(&world).len(), newest(&world)), (2, (PenaltyLevel::Hour, 3_600_000)));
}

#[test]
fn a_clients_word_holds_back_its_own_app_for_a_minute_and_never_longer() {
    let (mut world, [app, other]) = world();
    cap(&mut world, "corp-api-hour", 20);
    for _ in 0..18 {
        answered(&mut world, other, 0);
    }
    for _ in 0..3 {
        let pending = reserved(&mut world, app, 10_000).unwrap();
        settle(&mut world, pending, posted(Some(45009)));
        let (_, _, x) = started(&world).pop().unwrap();
        assert_eq!((x.told, x.blocks, x.whose), (true, Blocks::App, app));
        assert_eq!(newest(&world), (PenaltyLevel::Minute, 60_000));
        assert!(reserved(&mut world, app, 1).is_none() && held(&mut world, other).is_none());
        world.machine.real += 4_000_000;
    }
}

#[test]
fn a_clients_word_teaches_no_lower_cap() {
    let (mut world, [app, _]) = world();
    for _ in 0..5 {
        let pending = reserved(&mut world, app, 10_000).unwrap();
        settle(&mut world, pending, posted(Some(45009)));
        world.machine.real += 60_000;
        answered(&mut world, app, 0);
    }
    assert_eq!((count(&world, Kind::PenaltyEnded), count(&world, Kind::CapLearned)), (5, 0));
}

/// The client says that WeCom refused a call which it made itself.
fn told(world: &mut World, app: Seq) {
    let pending = reserved(world, app, 10_000).unwrap();
    settle(world, pending, posted(Some(45009)));
}

#[test]
fn after_a_clients_word_wecoms_own_block_is_as_long_as_and_about_whom_it_would_be_without() {
    for wait in [0, 60_000, 4_000_000] {
        let (mut world, [app, other]) = world();
        let under_way = call(&mut world, app);
        told(&mut world, app);
        world.machine.real += wait;
        let real = if wait == 0 { under_way } else { call(&mut world, app) };
        settle(&mut world, real, posted(Some(45009)));
        let (_, _, x) = started(&world).pop().unwrap();
        assert_eq!((x.told, x.blocks, newest(&world)), (false, Blocks::Corp, (PenaltyLevel::Minute, 60_000)));
        assert!(held(&mut world, other).is_some());
    }
}

#[test]
fn a_clients_word_keeps_wecoms_own_from_teaching_nothing_and_changes_no_row_of_its_blocks() {
    let (mut world, [app, _]) = messages_of_2023();
    let tried = |world: &mut World, errcode| {
        let pending = admitted(world, app, &message());
        settle(world, pending, posted(Some(errcode)));
    };
    let reserved = |world: &mut World| {
        let (api, ask) = message();
        let Command::Admit(admit) = admit(world, app, api) else { panic!() };
        match act(world, Command::Reserve(Admit { ask, ..admit })) {
            Reply::Admitted { pending, .. } => pending,
            other => panic!("{other:?}"),
        }
    };
    let (first, second) = (reserved(&mut world), reserved(&mut world));
    settle(&mut world, first, posted(Some(45009)));
    world.machine.real += 60_000;
    tried(&mut world, 45009);
    assert_eq!(newest(&world).0, PenaltyLevel::Minute, "the first that WeCom says itself");
    world.machine.real += 60_000;
    // A word about what WeCom has said itself is none.
    settle(&mut world, second, posted(Some(45009)));
    let third = reserved(&mut world);
    settle(&mut world, third, posted(Some(45009)));
    assert_eq!(started(&world).len(), 2);
    tried(&mut world, 45009);
    assert_eq!(newest(&world).0, PenaltyLevel::Day, "the next longer one");
    world.machine.real += 86_400_000;
    tried(&mut world, 0);
    let row = world.rows.iter().rfind(|row| row.kind == Kind::PenaltyEnded).unwrap();
    let Body::PenaltyEnded(x) = row.entry().unwrap().body else { panic!() };
    assert!(x.drift.is_some(), "{x:?}");
}

#[test]
fn an_account_that_wecom_was_too_busy_to_answer_for_counts() {
    for (errcode, accounts) in [(-1, 1), (0, 1), (60102, 0), (45009, 0)] {
        let (mut world, [app, _]) = world();
        let Command::Admit(admit) = admit(&world, app, "user/create") else { panic!() };
        let admit = Admit { ask: Ask { accounts: 1, domains: 1, ..Ask::default() }, ..admit };
        let Reply::Admitted { pending, .. } = act(&mut world, Command::Admit(admit)) else { panic!() };
        settle(&mut world, pending, posted(Some(errcode)));
        let row = world.rows.iter().rfind(|row| row.kind == Kind::CallPosted).unwrap();
        let Body::CallPosted(x) = row.entry().unwrap().body else { panic!() };
        assert_eq!((x.cost.accounts, x.cost.domains), (accounts, accounts), "{errcode}");
    }
}
