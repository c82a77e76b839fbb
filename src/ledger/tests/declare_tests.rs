//! What a message to groups may cost, and where declared usage counts.

use crate::ledger::State;
use crate::ledger::command::{Admit, Ask, Caller, Command, InLine, Now, Refusal, Rejected, Reply, To};
use crate::ledger::decide::decide;
use crate::ledger::entry::{Body, Seq, Size};
use crate::ledger::state::UNKNOWN_APIS_MAX;
use crate::quota::{Filter, Operator, Profile, Unit};

use super::fold;
use super::rule_tests::{act, world};
use super::world::World;

fn send(world: &mut World, app: Seq, api: &str, to: To) -> Reply {
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
    act(world, Command::Admit(admit))
}

fn departments(parties: &[u64], unreadable: u64) -> To {
    To::Members { users: vec![1], others: 0, parties: parties.to_vec(), tags: vec![], unreadable }
}

/// The person-times that a message of this kind reserves.
fn reserves(world: &mut World, app: Seq, to: To) -> u64 {
    let reply = send(world, app, "message/send", to);
    let Reply::Admitted { pending, .. } = reply else { panic!("{reply:?}") };
    fold(&world.rows).pendings[&pending].cost.person_times
}

#[test]
fn a_message_to_several_groups_may_cost_more_than_the_corp_has_accounts() {
    let (mut world, [app, _]) = world();
    for (id, members) in [(1, 6), (2, 7), (3, 50)] {
        let size = Size::Department { id, with_children: true, members };
        act(&mut world, Command::Learn { app, size, call: 1 });
    }
    // Of 10 accounts: nobody knows whether those in both count once.
    assert_eq!(reserves(&mut world, app, departments(&[1, 2], 0)), 14);
    // No single group has more members than the corp has accounts, known or not.
    assert_eq!(reserves(&mut world, app, departments(&[3], 0)), 11);
    assert_eq!(reserves(&mut world, app, departments(&[4, 1], 0)), 17);
    assert_eq!(reserves(&mut world, app, departments(&[], 3)), 31);
}

fn profile_of_2023(world: &mut World) {
    let (profile, operator) = ("wecom-2023".to_owned(), Operator::Corp);
    act(world, Command::PutLimits { profile, operator, own: None });
}

fn declare(world: &mut World, app: Option<&str>, api: Option<&str>, amount: i64) -> Reply {
    let (corp_id, agent_id, api) = ("corp".to_owned(), app.map(str::to_owned), api.map(str::to_owned));
    let (unit, note) = (Unit::PersonTimes, String::new());
    act(world, Command::Declare { corp_id, agent_id, api, unit, amount, note, article: 0 })
}

fn used(world: &World, limit: &str) -> u64 {
    let state = fold(&world.rows);
    let now = crate::ledger::decide::now(&state, &world.machine.reading());
    let filter = Filter { limit: Some(limit), ..Filter::default() };
    let usage =
        state.meters.usage(crate::quota::Moment { tick: now.tick, at: now.at }, &filter, |_| 10, |_| "");
    usage.iter().map(|usage| usage.reading.used).sum()
}

#[test]
fn declared_person_times_are_of_messages_and_count_where_the_app_is_known() {
    let (mut world, [app, _]) = world();
    profile_of_2023(&mut world);
    let Reply::Rejected(Rejected::Invalid(why)) = declare(&mut world, None, None, 1_999) else { panic!() };
    assert!(why.contains("messages-app-day") && why.contains("CORP_ID/AGENT_ID"), "{why}");
    assert!(matches!(declare(&mut world, Some("1"), None, 1_999), Reply::Done { changed: true, .. }));
    assert_eq!((used(&world, "messages-app-day"), used(&world, "appchat-send-minute")), (1_999, 0));
    assert!(matches!(send(&mut world, app, "message/send", departments(&[], 0)), Reply::Admitted { .. }));
    let reply = send(&mut world, app, "message/send", departments(&[], 0));
    assert!(
        matches!(&reply, Reply::Refused(Refusal::Limit { reading, .. }) if *reading.limit == *"messages-app-day")
    );
}

#[test]
fn declared_person_times_of_another_api_count_in_its_limits_alone() {
    let (mut world, _) = world();
    profile_of_2023(&mut world);
    assert!(matches!(
        declare(&mut world, None, Some("appchat/send"), 500),
        Reply::Done { changed: true, .. }
    ));
    assert_eq!((used(&world, "messages-app-day"), used(&world, "appchat-send-minute")), (0, 500));
    let entry = world.rows.last().unwrap();
    assert!(entry.api.is_some() && matches!(entry.entry().unwrap().body, Body::UsageDeclared(_)));
    for api in ["user/get", "no such api", "/cgi-bin/message/send"] {
        let reply = declare(&mut world, Some("1"), Some(api), 1);
        assert!(matches!(reply, Reply::Rejected(Rejected::Invalid(_))), "{api}: {reply:?}");
    }
}

#[test]
fn a_declaration_of_an_api_that_gets_no_name_of_its_own_is_refused() {
    let (mut world, _) = world();
    let own = r#"
name = "mine"

[[limit]]
name = "some"
apis = ["some/message"]
scope = ["corp"]
unit = "person_times"
window = "1h"
cap = 100
source = "a test"
"#;
    let own = Some(Box::new(Profile::from_toml(own).unwrap()));
    act(&mut world, Command::PutLimits { profile: "mine".to_owned(), operator: Operator::Corp, own });
    let mut state = fold(&world.rows);
    let declare = |state: &State| {
        let now = Now { tick: state.tick, at: state.at };
        let (unit, note) = (Unit::PersonTimes, String::new());
        let (corp_id, api) = ("corp".to_owned(), Some("some/message".to_owned()));
        let declare = Command::Declare { corp_id, agent_id: None, api, unit, amount: 50, note, article: 0 };
        decide(state, declare, now, None).reply
    };
    assert!(matches!(declare(&state), Reply::Done { .. }));
    state.unknown_apis = UNKNOWN_APIS_MAX;
    let Reply::Rejected(Rejected::Invalid(why)) = declare(&state) else { panic!() };
    assert!(why.contains("(other)"), "{why}");
}

#[test]
fn a_declaration_raises_alerts_of_limits_of_its_api_alone() {
    let (mut world, _) = world();
    profile_of_2023(&mut world);
    declare(&mut world, Some("1"), Some("appchat/send"), 1_000_000);
    let alerts = world.rows.iter().filter_map(|row| match row.entry().unwrap().body {
        Body::AlertRaised(alert) => Some(alert.limit),
        _ => None,
    });
    let alerts: Vec<String> = alerts.collect();
    assert!(!alerts.is_empty() && alerts.iter().all(|limit| limit.starts_with("appchat-")), "{alerts:?}");
}

#[test]
fn a_declaration_that_nearly_uses_a_limit_up_raises_an_alert() {
    let (mut world, _) = world();
    let mut declare = |amount| {
        let (corp_id, note) = ("corp".to_owned(), String::new());
        let declare = Command::Declare {
            corp_id,
            agent_id: None,
            api: None,
            unit: Unit::Apps,
            amount,
            note,
            article: 0,
        };
        let before = world.rows.len();
        assert!(matches!(act(&mut world, declare), Reply::Done { seq, .. } if seq == before as u64 + 1));
        let raised = world.rows[before..].iter().filter_map(|row| match row.entry().unwrap().body {
            Body::AlertRaised(alert) => Some((alert.limit, alert.percent)),
            _ => None,
        });
        raised.collect::<Vec<_>>()
    };
    let of_total = |percent| vec![("apps-total".to_owned(), percent)];
    assert_eq!(declare(23), vec![]);
    assert_eq!(declare(4), of_total(90));
    assert_eq!(declare(-1), vec![]);
    assert_eq!(declare(4), of_total(100));
}
