//! Single rules of `decide` and `apply`, one history each.

use crate::ledger::command::{
    Admit, Caller, Command, EndedHow, FetchOutcome, FetchReason, InLine, Outcome, Refusal, Rejected, Reply,
};
use crate::ledger::entry::Seq;
use crate::ledger::state::EXPIRY_MARGIN_MS;

use super::ops::Fate;
use super::plain;
use super::world::World;

/// A ledger with one process and two apps.
pub(super) fn world() -> (World, [Seq; 2]) {
    let mut world = World::new();
    world.start(0, Fate::Acknowledged);
    act(&mut world, Command::PutCorp { corp_id: "corp".to_owned(), account_cap: 10 });
    let apps = ["1", "2"].map(|agent_id| match act(&mut world, put_app(agent_id, 1)) {
        Reply::Done { seq, changed: true } => seq,
        other => panic!("{other:?}"),
    });
    (world, apps)
}

pub(super) fn act(world: &mut World, command: Command) -> Reply {
    world.command(0, command, Fate::Acknowledged).unwrap()
}

pub(super) fn put_app(agent_id: &str, secret: u8) -> Command {
    let (corp_id, agent_id) = ("corp".to_owned(), agent_id.to_owned());
    Command::PutApp { corp_id, agent_id, secret: plain("s"), fingerprint: [secret; 32] }
}

pub(super) fn begin(app: Seq) -> Command {
    Command::BeginFetch { app, why: FetchReason::Demand, timeout_ms: 10_000 }
}

pub(super) fn fetch(world: &mut World, app: Seq, outcome: FetchOutcome) {
    let Reply::Fetch { pending, .. } = act(world, begin(app)) else { panic!("no fetch") };
    assert!(matches!(act(world, Command::EndFetch { pending, outcome }), Reply::Settled { .. }));
}

pub(super) fn token(string: u8, expires_in_ms: i64) -> FetchOutcome {
    FetchOutcome::Token {
        token: plain("t"),
        fingerprint: [string; 32],
        expires_in_ms,
        refresh_after_ms: expires_in_ms / 2,
        http_status: 200,
        latency_us: 1,
    }
}

pub(super) fn refused(errcode: i64) -> FetchOutcome {
    let (errmsg, hint, from_ip) = ("no".to_owned(), None, Some("192.0.2.1".to_owned()));
    FetchOutcome::Refused { errcode, errmsg, hint, from_ip, http_status: 200, latency_us: 1 }
}

fn rejection(world: &World, app: Seq) -> Command {
    let credential = world.naive.tokens.apps[&app].tokens.last().unwrap().seq;
    Command::Invalidate { credential, app, errcode: 40014, call: None }
}

fn rejected(world: &mut World, app: Seq) -> Reply {
    let rejection = rejection(world, app);
    act(world, rejection)
}

fn reject_newest(world: &mut World, app: Seq) {
    let rejection = rejection(world, app);
    assert!(matches!(act(world, rejection), Reply::Done { changed: true, .. }));
}

fn unavailable(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(Refusal::CredentialUnavailable { .. }))
}

#[test]
fn a_wall_clock_that_was_set_back_lets_no_time_pass_twice() {
    let (mut world, [app, _]) = world();
    world.machine.ahead = -3_600_000;
    world.machine.real += 1_800_000;
    act(&mut world, begin(app));
    let before = world.rows.last().unwrap().tick;
    // The network sets it right while the machine starts.
    world.machine.reboot(5_000, 0);
    world.start(1, Fate::Acknowledged);
    assert_eq!(world.rows.last().unwrap().tick - before, 5_000);
}

#[test]
fn a_token_that_comes_for_a_removed_app_is_on_record_but_kept_nowhere() {
    let (mut world, [app, _]) = world();
    let Reply::Fetch { pending, .. } = act(&mut world, begin(app)) else { panic!() };
    act(&mut world, Command::RemoveApp { corp_id: "corp".to_owned(), agent_id: "1".to_owned() });
    act(&mut world, Command::EndFetch { pending, outcome: token(1, 7_200_000) });
    assert!(!world.sealed.contains(&world.rows.last().unwrap().seq));
    act(&mut world, put_app("1", 2));
    let secret = world.naive.tokens.apps[&app].secret;
    let issue = Command::Issue { app, caller: Caller::Secret(secret) };
    assert_eq!(act(&mut world, issue), Reply::Refused(Refusal::NoCredential));
}

#[test]
fn a_rejection_of_an_old_token_leaves_the_new_one_alone() {
    let (mut world, [app, _]) = world();
    fetch(&mut world, app, token(1, 7_200_000));
    let old = world.naive.tokens.apps[&app].tokens[0].seq;
    reject_newest(&mut world, app);
    fetch(&mut world, app, token(2, 7_200_000));
    let Reply::Have { credential } = act(&mut world, begin(app)) else { panic!() };
    let late = Command::Invalidate { credential: old, app, errcode: 42001, call: None };
    assert_eq!(act(&mut world, late), Reply::Done { seq: old, changed: false });
    assert_eq!(act(&mut world, begin(app)), Reply::Have { credential });
}

#[test]
fn an_expired_call_counts_from_a_little_after_its_expiry() {
    let (mut world, [app, _]) = world();
    let limit = "corp-api-minute".to_owned();
    act(&mut world, Command::PutCap { corp_id: "corp".to_owned(), limit, cap: Some(1) });
    let Reply::Fetch { pending, .. } = act(&mut world, begin(app)) else { panic!() };
    let outcome = FetchOutcome::Unknown { reason: "timeout".to_owned() };
    act(&mut world, Command::EndFetch { pending, outcome });
    let expired = world.rows.last().unwrap().tick;
    world.machine.real += 2_000;
    let Reply::Refused(Refusal::CredentialUnavailable { retry_at, .. }) = act(&mut world, begin(app)) else {
        panic!()
    };
    let earliest = expired + EXPIRY_MARGIN_MS + 60_000;
    assert!((earliest + 1..=earliest + 600).contains(&retry_at.unwrap()), "{expired} {retry_at:?}");
}

#[test]
fn a_lifetime_without_end_does_no_harm() {
    let (mut world, [app, _]) = world();
    fetch(&mut world, app, token(1, i64::MAX));
    assert!(matches!(act(&mut world, begin(app)), Reply::Have { .. }));
}

#[test]
fn whoever_holds_another_apps_secret_settles_nothing() {
    let (mut world, [app, other]) = world();
    let caller = |world: &World, app| Caller::Secret(world.naive.tokens.apps[&app].secret);
    let admit = Admit {
        caller: caller(&world, app),
        app,
        api: "message/send".to_owned(),
        method: "POST".to_owned(),
        ask: crate::ledger::command::Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 1_000,
        request_bytes: 0,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    };
    let Reply::Admitted { pending, .. } = act(&mut world, Command::Reserve(admit)) else { panic!() };
    let void = |caller| {
        let outcome = Outcome::Voided { reason: "not sent".to_owned() };
        Command::Settle { pending, outcome, caller: Some(caller) }
    };
    let foreign = caller(&world, other);
    assert!(matches!(act(&mut world, void(foreign)), Reply::Rejected(Rejected::Conflict(_))));
    let own = caller(&world, app);
    assert!(matches!(act(&mut world, void(own)), Reply::Settled { .. }));
}

#[test]
fn the_same_caps_in_another_order_change_nothing() {
    let (mut world, _) = world();
    let put =
        |limit: &str| Command::PutCap { corp_id: "corp".to_owned(), limit: limit.to_owned(), cap: Some(5) };
    for limit in ["corp-api-minute", "corp-api-hour"] {
        assert!(matches!(act(&mut world, put(limit)), Reply::Done { changed: true, .. }));
    }
    assert!(matches!(act(&mut world, put("corp-api-minute")), Reply::Done { changed: false, .. }));
}

#[test]
fn rejected_tokens_are_fetched_again_three_times_a_minute_at_most() {
    let (mut world, [app, _]) = world();
    fetch(&mut world, app, token(0, 7_200_000));
    let began = world.machine.real;
    for string in 1..=3 {
        reject_newest(&mut world, app);
        world.machine.real += 10;
        fetch(&mut world, app, token(string, 7_200_000));
    }
    // One API that rejects every token must not take the others' away.
    assert_eq!(rejected(&mut world, app), Reply::Kept);
    assert!(matches!(act(&mut world, begin(app)), Reply::Have { .. }));
    world.machine.real = began + 60_009;
    assert_eq!(rejected(&mut world, app), Reply::Kept);
    world.machine.real = began + 60_010;
    reject_newest(&mut world, app);
    assert!(matches!(act(&mut world, begin(app)), Reply::Fetch { .. }));
}

#[test]
fn a_token_that_was_fetched_with_an_earlier_secret_is_kept_nowhere() {
    let (mut world, [app, _]) = world();
    let Reply::Fetch { pending, .. } = act(&mut world, begin(app)) else { panic!() };
    act(&mut world, put_app("1", 2));
    act(&mut world, Command::EndFetch { pending, outcome: token(1, 7_200_000) });
    assert!(!world.sealed.contains(&world.rows.last().unwrap().seq));
    assert!(matches!(act(&mut world, begin(app)), Reply::Fetch { .. }));
}

#[test]
fn a_new_secret_ends_what_was_fetched_with_the_one_before() {
    let (mut world, [app, _]) = world();
    fetch(&mut world, app, token(1, 7_200_000));
    let token = world.rows.last().unwrap().seq;
    act(&mut world, put_app("1", 2));
    assert!(!world.sealed.contains(&token));
    assert!(matches!(act(&mut world, begin(app)), Reply::Fetch { .. }));
}

#[test]
fn a_reservation_outlives_the_process_that_took_it() {
    let (mut world, [app, _]) = world();
    let secret = world.naive.tokens.apps[&app].secret;
    let admit = Admit {
        caller: Caller::Secret(secret),
        app,
        api: "message/send".to_owned(),
        method: "POST".to_owned(),
        ask: crate::ledger::command::Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 600_000,
        request_bytes: 0,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    };
    let Reply::Admitted { pending, .. } = act(&mut world, Command::Reserve(admit)) else { panic!() };
    let process = world.processes[0].seq.unwrap();
    act(&mut world, Command::EndProcess { process, how: EndedHow::Drained });
    assert!(!world.rows.iter().any(|row| row.pending_seq == Some(pending)));
}

#[test]
fn a_bad_secret_is_not_tried_again_until_it_changes_or_somebody_resets_it() {
    let (mut world, [app, other]) = world();
    for app in [app, other] {
        fetch(&mut world, app, refused(40001));
        world.machine.real += 10_000_000;
        assert!(unavailable(&act(&mut world, begin(app))));
    }
    act(&mut world, put_app("1", 1));
    assert!(unavailable(&act(&mut world, begin(app))), "the same secret is no other one");
    act(&mut world, put_app("1", 9));
    assert!(matches!(act(&mut world, begin(app)), Reply::Fetch { .. }));
    act(&mut world, Command::ResetApp { corp_id: "corp".to_owned(), agent_id: "2".to_owned() });
    assert!(matches!(act(&mut world, begin(other)), Reply::Fetch { .. }));
}

#[test]
fn the_same_token_keeps_its_deadline_and_is_left_alone_for_a_minute() {
    let (mut world, [app, _]) = world();
    fetch(&mut world, app, token(1, 7_200_000));
    let deadline = world.naive.tokens.apps[&app].tokens[0].expires;
    world.machine.real += 4_000_000;
    let refresh = Command::BeginFetch { app, why: FetchReason::Refresh, timeout_ms: 1_000 };
    let Reply::Fetch { pending, .. } = act(&mut world, refresh.clone()) else { panic!() };
    act(&mut world, Command::EndFetch { pending, outcome: token(1, 7_200_000) });
    assert_eq!(world.naive.tokens.apps[&app].tokens[1].expires, deadline);
    world.machine.real += 59_999;
    assert!(matches!(act(&mut world, refresh.clone()), Reply::Have { .. }));
    world.machine.real += 1;
    assert!(matches!(act(&mut world, refresh), Reply::Fetch { .. }));
}
