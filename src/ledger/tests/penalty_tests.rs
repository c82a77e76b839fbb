//! WeCom's own blocks, one history each.

use crate::ledger::Kind;
use crate::ledger::command::{
    Admit, Ask, Caller, Command, FetchOutcome, InLine, NotSent, Outcome, Refusal, Reply,
};
use crate::ledger::entry::{AnswerNotes, Blocks, Body, PenaltyLevel, PenaltyStarted, Seq};

use super::fold;
use super::machine::WALL;
use super::ops::Fate;
use super::rule_tests::{act, begin, fetch, put_app, refused, token, world};
use super::world::World;

pub(super) fn admit(world: &World, app: Seq, api: &str) -> Command {
    Command::Admit(Admit {
        caller: Caller::Secret(world.naive.tokens.apps[&app].secret),
        app,
        api: api.to_owned(),
        method: "GET".to_owned(),
        ask: Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 10_000,
        request_bytes: 0,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    })
}

pub(super) fn call(world: &mut World, app: Seq) -> Seq {
    call_of(world, app, "user/get")
}

pub(super) fn call_of(world: &mut World, app: Seq, api: &str) -> Seq {
    let admit = admit(world, app, api);
    match act(world, admit) {
        Reply::Admitted { pending, .. } => pending,
        other => panic!("{other:?}"),
    }
}

/// When a call that is held back may try again.
pub(super) fn held(world: &mut World, app: Seq) -> Option<i64> {
    let admit = admit(world, app, "user/get");
    match act(world, admit) {
        Reply::Refused(Refusal::Blocked { retry_at, .. }) => Some(retry_at),
        Reply::Admitted { pending, .. } => {
            act(world, Command::Settle { pending, outcome: voided(), caller: None });
            None
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn voided() -> Outcome {
    Outcome::Voided { reason: "not sent".to_owned() }
}

pub(super) fn posted(errcode: Option<i64>) -> Outcome {
    let (hint, from_ip) = (Some("[1]".to_owned()), Some("192.0.2.9".to_owned()));
    let answer = AnswerNotes { hint, from_ip, ..AnswerNotes::default() };
    Outcome::Posted {
        not_sent: NotSent::default(),
        unreached: NotSent::default(),
        errcode,
        http_status: 200,
        latency_us: 1,
        response_bytes: 2,
        answer,
    }
}

pub(super) fn settle(world: &mut World, pending: Seq, outcome: Outcome) {
    let reply = act(world, Command::Settle { pending, outcome, caller: None });
    assert!(matches!(reply, Reply::Settled { .. }), "{reply:?}");
}

/// A call that WeCom answers so.
pub(super) fn answered(world: &mut World, app: Seq, errcode: i64) {
    let pending = call(world, app);
    settle(world, pending, posted(Some(errcode)));
}

pub(super) fn started(world: &World) -> Vec<(Seq, i64, PenaltyStarted)> {
    let entries = world.rows.iter().map(|row| row.entry().unwrap());
    let penalty = |entry: crate::ledger::entry::Entry| match entry.body {
        Body::PenaltyStarted(x) => Some((entry.seq, entry.tick, x)),
        _ => None,
    };
    entries.filter_map(penalty).collect()
}

/// The newest block: its level and how long it is.
pub(super) fn newest(world: &World) -> (PenaltyLevel, i64) {
    let (_, tick, x) = started(world).pop().unwrap();
    (x.level, x.until_tick - tick)
}

pub(super) fn count(world: &World, kind: Kind) -> usize {
    world.rows.iter().filter(|row| row.kind == kind).count()
}

pub(super) fn cap(world: &mut World, limit: &str, cap: u64) {
    let (corp_id, limit) = ("corp".to_owned(), limit.to_owned());
    act(world, Command::PutCap { corp_id, limit, cap: Some(cap) });
}

pub(super) fn blocked_world() -> (World, [Seq; 2]) {
    let (mut world, apps) = world();
    answered(&mut world, apps[0], 45009);
    (world, apps)
}

#[test]
fn a_45009_blocks_the_corps_calls_of_this_api_for_a_minute() {
    let (mut world, [app, other]) = blocked_world();
    let (_, tick, x) = started(&world).pop().unwrap();
    assert_eq!((x.level, x.until_tick - tick), (PenaltyLevel::Minute, 60_000));
    assert_eq!((x.blocks, x.limit.as_deref(), x.errcode), (Blocks::Corp, None, 45009));
    assert_eq!((x.hint.as_deref(), x.from_ip.as_deref()), (Some("[1]"), Some("192.0.2.9")));
    let counted = x.counted.iter().find(|it| it.limit == "corp-api-minute").unwrap();
    assert_eq!((counted.used, counted.cap), (1, 1000));
    assert_eq!(held(&mut world, app), Some(x.until_tick));
    assert_eq!(held(&mut world, other), Some(x.until_tick), "the corp's other app is blocked too");
    world.machine.real += 59_999;
    assert_eq!(held(&mut world, app), Some(x.until_tick));
    world.machine.real += 1;
    assert_eq!(held(&mut world, app), None);
}

#[test]
fn a_limit_that_refuses_longer_than_a_block_is_what_holds_a_call_back() {
    let (mut world, [app, _]) = blocked_world();
    cap(&mut world, "corp-api-hour", 1);
    let admit = admit(&world, app, "user/get");
    let reply = act(&mut world, admit);
    let Reply::Refused(Refusal::Limit { reading, retry_at, .. }) = reply else { panic!("{reply:?}") };
    let block = started(&world).pop().unwrap().2;
    assert!(*reading.limit == *"corp-api-hour" && retry_at > Some(block.until_tick), "{reading:?}");
    cap(&mut world, "corp-api-hour", 2);
    assert_eq!(held(&mut world, app), Some(block.until_tick));
}

#[test]
fn a_block_lasts_as_long_as_the_limit_that_we_had_counted_nearly_full() {
    let (mut world, [app, _]) = world();
    cap(&mut world, "corp-api-hour", 10);
    for _ in 0..8 {
        answered(&mut world, app, 0);
    }
    answered(&mut world, app, 45009);
    assert_eq!(newest(&world), (PenaltyLevel::Hour, 3_600_000));
    let (_, _, x) = started(&world).pop().unwrap();
    assert_eq!(x.limit.as_deref(), Some("corp-api-hour"));
    assert_eq!(x.counted.iter().find(|it| it.limit == "corp-api-hour").unwrap().used, 9);
}

#[test]
fn what_is_not_nearly_full_is_not_taken_for_the_limit_that_is_meant() {
    let (mut world, [app, _]) = world();
    cap(&mut world, "corp-api-hour", 10);
    for _ in 0..7 {
        answered(&mut world, app, 0);
    }
    answered(&mut world, app, 45009);
    assert_eq!(newest(&world), (PenaltyLevel::Minute, 60_000));
}

#[test]
fn a_limit_per_ip_blocks_the_ip_and_not_the_corp() {
    let (mut world, [app, _]) = world();
    cap(&mut world, "corp-api-minute", 1_999);
    for _ in 0..1_799 {
        answered(&mut world, app, 0);
    }
    answered(&mut world, app, 45009);
    let (_, _, x) = started(&world).pop().unwrap();
    // 1,800 of 1,999 is the larger share.
    assert_eq!((x.limit.as_deref(), x.blocks), (Some("corp-api-minute"), Blocks::Corp));

    let (mut world, [app, _]) = self::world();
    cap(&mut world, "corp-api-minute", 10_000);
    for _ in 0..1_799 {
        answered(&mut world, app, 0);
    }
    answered(&mut world, app, 45009);
    let (_, _, x) = started(&world).pop().unwrap();
    assert_eq!((x.limit.as_deref(), x.blocks), (Some("ip-api-minute"), Blocks::EgressIp));
    // Another process goes out by another IP.
    world.start(1, Fate::Acknowledged);
    let admit = admit(&world, app, "user/get");
    let elsewhere = world.command(1, admit, Fate::Acknowledged);
    assert!(matches!(elsewhere, Some(Reply::Admitted { .. })), "{elsewhere:?}");
}

#[test]
fn where_nothing_is_nearly_full_the_corp_is_blocked_though_the_ip_is_fuller() {
    let (mut world, [app, _]) = world();
    for limit in ["corp-api-minute", "corp-api-hour"] {
        cap(&mut world, limit, 100_000);
    }
    answered(&mut world, app, 45009);
    let (_, _, x) = started(&world).pop().unwrap();
    let share =
        |limit: &str| x.counted.iter().find(|it| it.limit == limit).map(|it| it.used * 100_000 / it.cap);
    assert!(share("ip-api-minute") > share("corp-api-minute"), "{:?}", x.counted);
    assert_eq!((x.limit, x.blocks), (None, Blocks::Corp));
}

#[test]
fn calls_that_are_held_back_take_nothing_and_share_an_entry_within_a_second() {
    let (mut world, [app, _]) = blocked_world();
    let before = fold(&world.rows).meters;
    for _ in 0..20 {
        assert!(held(&mut world, app).is_some());
    }
    assert_eq!(count(&world, Kind::CallRefused), 1);
    assert_eq!(fold(&world.rows).meters, before);
    world.machine.real += 1_000;
    held(&mut world, app);
    assert_eq!(count(&world, Kind::CallRefused), 2);
    let refusal = world.rows.iter().rfind(|row| row.kind == Kind::CallRefused).unwrap();
    assert_eq!(refusal.errcode, Some(45009));
    assert!(refusal.detail.as_ref().unwrap().contains("blocked_by_wecom"));
}

#[test]
fn calls_that_were_on_their_way_when_it_began_start_no_second_block() {
    let (mut world, [app, other]) = world();
    let calls = [call(&mut world, app), call(&mut world, other), call(&mut world, app)];
    for pending in calls {
        world.machine.real += 100;
        settle(&mut world, pending, posted(Some(45009)));
    }
    assert_eq!(started(&world).len(), 1);
    // Nor do they end it.
    let (mut world, [app, _]) = self::world();
    let [first, second] = [call(&mut world, app), call(&mut world, app)];
    settle(&mut world, first, posted(Some(45009)));
    settle(&mut world, second, posted(Some(0)));
    assert!(held(&mut world, app).is_some());
}

#[test]
fn after_a_block_one_call_tries_and_the_others_wait_for_what_it_finds() {
    let (mut world, [app, other]) = blocked_world();
    world.machine.real += 60_000;
    let trying = call(&mut world, app);
    let tick = world.rows.last().unwrap().tick;
    assert_eq!(held(&mut world, app), Some(tick + 1_000));
    assert_eq!(held(&mut world, other), Some(tick + 1_000));
    settle(&mut world, trying, posted(Some(0)));
    let ended = world.rows.last().unwrap().entry().unwrap();
    let Body::PenaltyEnded(x) = &ended.body else { panic!("{ended:?}") };
    assert_eq!((x.started, x.reason.as_str()), (started(&world)[0].0, "probe_passed"));
    let calls = [call(&mut world, app), call(&mut world, other)];
    for pending in calls {
        settle(&mut world, pending, posted(Some(0)));
    }
    assert_eq!(count(&world, Kind::PenaltyEnded), 1);
}

#[test]
fn a_file_shows_too_that_calls_are_let_in_again() {
    let (mut world, [app, _]) = blocked_world();
    world.machine.real += 60_000;
    let trying = call(&mut world, app);
    settle(&mut world, trying, posted(None));
    assert_eq!(count(&world, Kind::PenaltyEnded), 1);
}

#[test]
fn a_try_that_is_refused_again_begins_the_next_longer_level() {
    let (mut world, [app, _]) = blocked_world();
    world.machine.real += 60_000;
    answered(&mut world, app, 45009);
    assert_eq!(newest(&world), (PenaltyLevel::Hour, 3_600_000));
    assert_eq!(fold(&world.rows).penalties.iter().count(), 1);
    world.machine.real += 3_600_000;
    // Of all levels that the profile has, an hour is the longest.
    answered(&mut world, app, 45009);
    assert_eq!(newest(&world), (PenaltyLevel::Hour, 3_600_000));
    world.machine.real += 3_600_000;
    answered(&mut world, app, 0);
    answered(&mut world, app, 45009);
    assert_eq!(newest(&world), (PenaltyLevel::Minute, 60_000), "it began anew");
}

#[test]
fn a_try_that_finds_nothing_out_leaves_it_to_the_next_one() {
    let garbage = || {
        let answer = AnswerNotes { incomplete: Some("garbage".to_owned()), ..AnswerNotes::default() };
        Outcome::Posted {
            not_sent: NotSent::default(),
            unreached: NotSent::default(),
            errcode: None,
            http_status: 200,
            latency_us: 1,
            response_bytes: 2,
            answer,
        }
    };
    let unknown = || Outcome::Expired { reason: "broken".to_owned() };
    for outcome in [voided(), unknown(), garbage(), posted(Some(-1)), posted(Some(42001))] {
        let (mut world, [app, _]) = blocked_world();
        world.machine.real += 60_000;
        let trying = call(&mut world, app);
        settle(&mut world, trying, outcome.clone());
        assert_eq!(count(&world, Kind::PenaltyEnded), 0, "{outcome:?}");
        let next = call(&mut world, app);
        assert!(held(&mut world, app).is_some(), "{outcome:?}");
        settle(&mut world, next, posted(Some(0)));
        assert_eq!(count(&world, Kind::PenaltyEnded), 1);
    }
}

#[test]
fn a_try_whose_outcome_never_comes_makes_room_for_another_at_its_deadline() {
    let (mut world, [app, _]) = blocked_world();
    world.machine.real += 60_000;
    call(&mut world, app);
    world.machine.real += 9_999;
    assert!(held(&mut world, app).is_some());
    world.machine.real += 1;
    let next = call(&mut world, app);
    settle(&mut world, next, posted(Some(0)));
    assert_eq!(count(&world, Kind::PenaltyEnded), 1);
}

#[test]
fn too_many_at_once_blocks_for_a_second_and_twice_as_long_each_time_after() {
    let (mut world, [app, _]) = world();
    let mut lengths = Vec::new();
    for _ in 0..8 {
        answered(&mut world, app, 45033);
        let (level, length) = newest(&world);
        assert_eq!(level, PenaltyLevel::Concurrent);
        lengths.push(length / 1000);
        world.machine.real += length;
    }
    assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
    // A full window is something else.
    answered(&mut world, app, 45009);
    assert_eq!(newest(&world), (PenaltyLevel::Minute, 60_000));
    let admit = admit(&world, app, "user/get");
    let reply = act(&mut world, admit);
    assert!(matches!(reply, Reply::Refused(Refusal::Blocked { errcode: 45009, .. })), "{reply:?}");
    world.machine.real += 60_000;
    answered(&mut world, app, 45033);
    assert_eq!(newest(&world), (PenaltyLevel::Concurrent, 1_000));
    assert_eq!(started(&world).pop().unwrap().2.limit, None);
}

#[test]
fn a_block_survives_a_restart_from_entries_and_from_a_snapshot() {
    let (mut world, [app, _]) = blocked_world();
    world.take_snapshot(0);
    for from_snapshot in [false, true] {
        world.start(0, Fate::Acknowledged);
        if from_snapshot {
            world.restore(0);
        }
        assert!(held(&mut world, app).is_some());
        world.everybody_agrees();
    }
    world.machine.reboot(60_000, 0);
    world.start(0, Fate::Acknowledged);
    let trying = call(&mut world, app);
    assert!(held(&mut world, app).is_some());
    // The one that tries dies with its process.
    world.processes[0].alive = false;
    world.start(1, Fate::Acknowledged);
    world.bury(1, Fate::Acknowledged);
    assert!(world.rows.iter().any(|row| row.pending_seq == Some(trying)));
    let admit = admit(&world, app, "user/get");
    assert!(matches!(world.command(1, admit, Fate::Acknowledged), Some(Reply::Admitted { .. })));
}

#[test]
fn another_corp_and_another_api_are_not_held_back() {
    let (mut world, [app, _]) = blocked_world();
    call_of(&mut world, app, "department/list");
    act(&mut world, Command::PutCorp { corp_id: "other".to_owned(), account_cap: 10 });
    let Command::PutApp { agent_id, secret, .. } = put_app("1", 3) else { panic!() };
    let put = Command::PutApp { corp_id: "other".to_owned(), agent_id, secret, fingerprint: [3; 32] };
    let Reply::Done { seq: foreign, .. } = act(&mut world, put) else { panic!() };
    call(&mut world, foreign);
}

#[test]
fn an_operator_can_end_a_block_and_calls_go_out_at_once() {
    let (mut world, [app, _]) = blocked_world();
    let penalty = started(&world)[0].0;
    let clear = Command::ClearPenalty { started: penalty };
    assert!(matches!(act(&mut world, clear.clone()), Reply::Done { changed: true, .. }));
    assert_eq!(world.rows.last().unwrap().kind, Kind::PenaltyCleared);
    call(&mut world, app);
    call(&mut world, app);
    assert!(matches!(act(&mut world, clear), Reply::Rejected(_)), "it is over");
}

#[test]
fn a_gettoken_that_is_answered_45009_holds_back_the_corps_fetches() {
    let (mut world, [app, other]) = world();
    let limited = |reply: &Reply| {
        matches!(
            reply,
            Reply::Refused(Refusal::CredentialUnavailable { errcode: Some(45009), retry_at: Some(_), .. })
        )
    };
    fetch(&mut world, app, refused(45009));
    let (_, _, x) = started(&world).pop().unwrap();
    assert_eq!((x.level, x.from_ip.as_deref()), (PenaltyLevel::Minute, Some("192.0.2.1")));
    let head = world.rows.len();
    assert!(limited(&act(&mut world, begin(app))) && limited(&act(&mut world, begin(other))));
    assert_eq!(world.rows.len(), head, "a fetch that is held back leaves no entry");
    world.machine.real += 60_000;
    let Reply::Fetch { pending, .. } = act(&mut world, begin(other)) else { panic!() };
    assert!(limited(&act(&mut world, begin(app))), "one fetch tries");
    let unknown = FetchOutcome::Unknown { reason: "timeout".to_owned() };
    act(&mut world, Command::EndFetch { pending, outcome: unknown });
    fetch(&mut world, app, token(1, 7_200_000));
    assert_eq!(count(&world, Kind::PenaltyEnded), 1);
    assert_eq!(fold(&world.rows).penalties.iter().count(), 0);
}

#[test]
fn a_block_of_gettoken_that_was_cleared_is_over_for_the_app_that_caused_it() {
    let (mut world, [app, _]) = world();
    fetch(&mut world, app, refused(45009));
    let penalty = started(&world)[0].0;
    act(&mut world, Command::ClearPenalty { started: penalty });
    assert!(matches!(act(&mut world, begin(app)), Reply::Fetch { .. }));
}

#[test]
fn a_day_ends_at_midnight_in_china() {
    use crate::ledger::decide::until_midnight;
    let hour = 3_600_000;
    assert_eq!(until_midnight(16 * hour - 1), 1);
    assert_eq!(until_midnight(16 * hour), 24 * hour);
    let now = WALL + 12_345;
    assert_eq!((now + until_midnight(now) + 8 * hour) % (24 * hour), 0);
}
