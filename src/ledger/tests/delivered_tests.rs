//! What was delivered on a day, and how WeCom's count compares with it.

use crate::ledger::Kind;
use crate::ledger::command::{
    Admit, Ask, Caller, Command, InLine, NotSent, Outcome, Reconcile, Rejected, Reply, To,
};
use crate::ledger::delivered::{TRIES_MAX, Which, day_of, due};
use crate::ledger::entry::{AnswerNotes, Compared, Failed, Reconciled, Seq, UsageReconciled};
use crate::quota::Day;

use super::fold;
use super::machine::WALL;
use super::rule_tests::{act, put_app, world};
use super::world::World;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The clocks show this time in China.
fn go(world: &mut World, time: &str) {
    let at = chrono::DateTime::parse_from_rfc3339(&format!("2015-10-{time}+08:00")).unwrap();
    let real = at.timestamp_millis() - WALL;
    assert!(real >= world.machine.real, "{time} is over");
    world.machine.real = real;
}

/// Two apps that were there before the day began: 2015-10-17, 10:00.
fn morning() -> (World, Seq) {
    let (mut world, [app, _]) = world();
    go(&mut world, "17T10:00:00");
    (world, app)
}

fn call(world: &mut World, app: Seq, api: &str, to: To) -> Seq {
    let admit = Admit {
        caller: Caller::Secret(world.naive.tokens.apps[&app].secret),
        app,
        api: api.to_owned(),
        method: "POST".to_owned(),
        ask: Ask { to, ..Ask::default() },
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 600_000,
        request_bytes: 0,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    };
    match act(world, Command::Admit(admit)) {
        Reply::Admitted { pending, .. } => pending,
        other => panic!("{other:?}"),
    }
}

fn users(count: u64) -> To {
    let users = (1..=count).collect();
    To::Members { users, others: 0, parties: vec![], tags: vec![], unreadable: 0 }
}

fn answer(world: &mut World, pending: Seq, errcode: Option<i64>, unreached: NotSent) {
    let outcome = Outcome::Posted {
        not_sent: NotSent::default(),
        unreached,
        errcode,
        http_status: 200,
        latency_us: 1,
        response_bytes: 2,
        answer: AnswerNotes::default(),
    };
    let reply = act(world, Command::Settle { pending, outcome, caller: None });
    assert!(matches!(reply, Reply::Settled { .. }), "{reply:?}");
}

/// A message to so many members, who all get it.
fn send(world: &mut World, app: Seq, count: u64) {
    let pending = call(world, app, "message/send", users(count));
    answer(world, pending, Some(0), NotSent::default());
}

fn expire(world: &mut World, pending: Seq) {
    let outcome = Outcome::Expired { reason: "broken".to_owned() };
    act(world, Command::Settle { pending, outcome, caller: None });
}

fn meant(world: &World, which: Which) -> Day {
    day_of(&fold(&world.rows), which, WALL + world.machine.real).unwrap()
}

fn reconcile(world: &mut World, app: Seq, which: Which, wecom: Result<u64, &str>, requested: bool) -> Reply {
    let (day, wecom) = (meant(world, which), wecom.map_err(str::to_owned));
    act(world, Command::Reconcile(Reconcile { app, which, day, wecom, by: None, requested }))
}

/// What comes of WeCom's count.
fn compare(world: &mut World, app: Seq, which: Which, wecom: u64) -> Compared {
    match reconcile(world, app, which, Ok(wecom), true) {
        Reply::Reconciled { reconciled, .. } => match *reconciled {
            UsageReconciled { outcome: Reconciled::Compared(compared), .. } => compared,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// At least, counted, at most; of yesterday.
fn bounds(world: &mut World, app: Seq) -> (u64, u64, Option<u64>) {
    let Compared { at_least, counted, at_most, .. } = compare(world, app, Which::Yesterday, 0);
    (at_least, counted, at_most)
}

fn is_due(world: &mut World, app: Seq) -> bool {
    // A look at the clock, so that the ledger's time is the present.
    let state = fold(&world.rows);
    let now = crate::ledger::decide::now(&state, &world.machine.reading());
    due(&state, now).contains(&app)
}

#[test]
fn people_who_were_named_count_for_the_day_in_china_on_which_they_got_it() {
    let (mut world, app) = morning();
    send(&mut world, app, 3);
    go(&mut world, "17T23:50:00");
    send(&mut world, app, 2);
    go(&mut world, "18T00:10:00");
    send(&mut world, app, 4);
    let same = compare(&mut world, app, Which::Yesterday, 5);
    assert_eq!((same.at_least, same.counted, same.at_most, same.difference), (5, 5, Some(5), 0));
    let other = fold(&world.rows).directory.app("corp", "2").unwrap().0;
    assert_eq!(bounds(&mut world, other), (0, 0, Some(0)));
    go(&mut world, "19T03:30:00");
    assert_eq!(bounds(&mut world, app), (4, 4, Some(4)));
    go(&mut world, "20T03:30:00");
    assert_eq!(bounds(&mut world, app), (0, 0, Some(0)), "nothing was sent on the 19th");
}

#[test]
fn whom_the_answer_names_as_not_reached_does_not_count_whatever_the_limits_count() {
    let (mut world, app) = morning();
    let pending = call(&mut world, app, "message/send", users(5));
    answer(&mut world, pending, Some(0), NotSent { users: 2, ..NotSent::default() });
    for errcode in [81013, 45009, 40014] {
        let pending = call(&mut world, app, "message/send", users(3));
        answer(&mut world, pending, Some(errcode), NotSent::default());
        world.machine.real += HOUR;
    }
    go(&mut world, "18T03:30:00");
    assert_eq!(bounds(&mut world, app), (3, 3, Some(3)));
}

#[test]
fn groups_bound_the_count_from_above_alone() {
    let (mut world, app) = morning();
    let to = To::Members { users: vec![1, 2], others: 0, parties: vec![7], tags: vec![], unreadable: 0 };
    let pending = call(&mut world, app, "message/send", to);
    answer(&mut world, pending, Some(0), NotSent::default());
    let pending = call(&mut world, app, "message/send", To::Everyone);
    answer(&mut world, pending, Some(0), NotSent::default());
    go(&mut world, "18T03:30:00");
    assert_eq!(bounds(&mut world, app), (2, 22, Some(22)), "the whole account cap, twice");
    assert_eq!(compare(&mut world, app, Which::Yesterday, 9).unexplained, 0);
    assert_eq!(compare(&mut world, app, Which::Yesterday, 23).unexplained, 1);
    assert_eq!(compare(&mut world, app, Which::Yesterday, 1).unexplained, -1);
}

#[test]
fn what_may_have_been_delivered_explains_as_much_as_that() {
    let (mut world, app) = morning();
    let unknown = call(&mut world, app, "message/send", users(3));
    expire(&mut world, unknown);
    for errcode in [Some(-1), None] {
        let pending = call(&mut world, app, "message/send", users(1));
        answer(&mut world, pending, errcode, NotSent::default());
    }
    // Whether WeCom counts these, it does not say.
    let pending = call(&mut world, app, "linkedcorp/message/send", users(4));
    answer(&mut world, pending, Some(0), NotSent::default());
    go(&mut world, "18T03:30:00");
    assert_eq!(bounds(&mut world, app), (0, 0, Some(9)));
}

#[test]
fn a_message_about_midnight_may_be_of_either_day() {
    let (mut world, app) = morning();
    go(&mut world, "17T23:59:30");
    send(&mut world, app, 2);
    let slow = call(&mut world, app, "message/send", users(3));
    go(&mut world, "18T00:05:00");
    assert_eq!(bounds(&mut world, app), (0, 2, Some(5)), "one is still under way");
    answer(&mut world, slow, Some(0), NotSent::default());
    assert_eq!(bounds(&mut world, app), (0, 2, Some(5)));
    go(&mut world, "19T03:30:00");
    assert_eq!(bounds(&mut world, app), (0, 3, Some(5)));
}

#[test]
fn today_only_too_many_are_unexplained_and_the_day_is_still_asked_about_when_it_is_over() {
    let (mut world, app) = morning();
    send(&mut world, app, 3);
    world.machine.real += HOUR;
    let early = compare(&mut world, app, Which::Today, 1);
    assert_eq!((early.so_far, early.unexplained, early.difference), (true, 0, -2));
    assert_eq!(compare(&mut world, app, Which::Today, 4).unexplained, 1);
    go(&mut world, "18T03:30:00");
    assert!(is_due(&mut world, app));
}

#[test]
fn of_the_day_on_which_an_app_is_added_nobody_knows_the_whole() {
    let (mut world, [app, _]) = world();
    send(&mut world, app, 1);
    go(&mut world, "17T03:30:00");
    assert!(!is_due(&mut world, app));
    let compared = compare(&mut world, app, Which::Yesterday, 900);
    assert_eq!((compared.at_least, compared.at_most, compared.unexplained), (1, None, 0));
    assert!(compared.in_words().contains("did not count during the whole day"));
    // Added anew, it may have been used by others meanwhile.
    go(&mut world, "18T03:30:00");
    assert!(is_due(&mut world, app));
    let label = ("corp".to_owned(), "1".to_owned());
    act(&mut world, Command::RemoveApp { corp_id: label.0, agent_id: label.1 });
    act(&mut world, put_app("1", 1));
    assert!(!is_due(&mut world, app));
    // A new secret is no new app.
    go(&mut world, "20T03:30:00");
    act(&mut world, put_app("1", 2));
    assert!(is_due(&mut world, app));
}

#[test]
fn a_day_is_compared_once_unless_somebody_wants_it_again() {
    let (mut world, app) = morning();
    go(&mut world, "18T03:30:00");
    let first = reconcile(&mut world, app, Which::Yesterday, Ok(0), false);
    let Reply::Reconciled { seq, .. } = first else { panic!("{first:?}") };
    assert!(!is_due(&mut world, app));
    let again = reconcile(&mut world, app, Which::Yesterday, Ok(7), false);
    assert_eq!(again, Reply::Done { seq, changed: false });
    let failed = reconcile(&mut world, app, Which::Yesterday, Err("busy"), false);
    assert_eq!(failed, Reply::Done { seq, changed: false });
    assert_eq!(compare(&mut world, app, Which::Yesterday, 7).unexplained, 7);
    world.machine.real += DAY;
    assert!(is_due(&mut world, app), "the next day is another");
    // Who comes from a snapshot knows the same.
    world.take_snapshot(0);
    world.restore(0);
    world.everybody_agrees();
}

#[test]
fn a_failure_is_tried_again_after_a_pause_that_grows_and_not_for_ever() {
    let (mut world, app) = morning();
    go(&mut world, "18T03:30:00");
    let mut pauses = Vec::new();
    while is_due(&mut world, app) {
        match reconcile(&mut world, app, Which::Yesterday, Err("errcode 48002"), false) {
            Reply::Reconciled { reconciled, .. } => match reconciled.outcome {
                Reconciled::Failed(Failed { failed, tries, .. }) => {
                    assert_eq!((failed.as_str(), tries as usize), ("errcode 48002", pauses.len() + 1));
                }
                Reconciled::Compared(it) => panic!("{it:?}"),
            },
            other => panic!("{other:?}"),
        }
        let begun = world.machine.real;
        while !is_due(&mut world, app) && world.machine.real < begun + 2 * HOUR {
            world.machine.real += 30_000;
        }
        pauses.push((world.machine.real - begun) / 60_000);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 120], "the last one is not tried again");
    assert_eq!(pauses.len(), TRIES_MAX as usize);
    // Another time it succeeds, and after that a failure of the day before is no matter.
    go(&mut world, "19T03:30:00");
    assert!(is_due(&mut world, app));
}

#[test]
fn about_midnight_nobody_is_asked_and_what_comes_late_is_refused() {
    let (mut world, app) = morning();
    let day = meant(&world, Which::Today);
    go(&mut world, "17T23:59:30");
    assert_eq!(day_of(&fold(&world.rows), Which::Today, WALL + world.machine.real), None);
    assert!(!is_due(&mut world, app));
    for time in ["17T23:59:40", "18T00:00:20", "18T03:30:00"] {
        go(&mut world, time);
        let late = Reconcile { app, which: Which::Today, day, wecom: Ok(1), by: None, requested: true };
        let reply = act(&mut world, Command::Reconcile(late));
        assert!(matches!(reply, Reply::Rejected(Rejected::Conflict(_))), "{time}: {reply:?}");
    }
}

#[test]
fn only_what_nothing_explains_waits_for_the_webhook() {
    let (mut world, app) = morning();
    send(&mut world, app, 3);
    go(&mut world, "18T03:30:00");
    compare(&mut world, app, Which::Yesterday, 3);
    reconcile(&mut world, app, Which::Yesterday, Err("busy"), false);
    assert_eq!(fold(&world.rows).alerts.queue().count(), 0);
    let more = compare(&mut world, app, Which::Yesterday, 5);
    assert!(more.in_words().contains("at least 2 were sent past this service"), "{}", more.in_words());
    compare(&mut world, app, Which::Yesterday, 2);
    assert_eq!(fold(&world.rows).alerts.queue().count(), 2);
    let recent: Vec<Seq> = fold(&world.rows).delivered.recent().map(|(seq, _)| seq).collect();
    let written = world.rows.iter().rev().filter(|row| row.kind == Kind::UsageReconciled);
    assert_eq!(recent, written.map(|row| row.seq).collect::<Vec<_>>());
}

#[test]
fn an_app_whose_id_wecom_cant_know_is_not_asked_about() {
    let (mut world, _) = morning();
    let Reply::Done { seq: app, .. } = act(&mut world, put_app("contacts", 3)) else { panic!() };
    go(&mut world, "19T03:30:00");
    assert!(!is_due(&mut world, app));
}
