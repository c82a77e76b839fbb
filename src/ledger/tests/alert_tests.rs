//! Alerts: when a limit is nearly used up, and when one that is only tried would be.

use crate::ledger::command::{Admit, Ask, Caller, Command, InLine, NotSent, Outcome, Refusal, Reply};
use crate::ledger::entry::{AlertRaised, AnswerNotes, Body, Seq};
use crate::quota::{Operator, Profile};

use super::fold;
use super::rule_tests::{act, world};
use super::world::World;

/// One limit of ten calls in a minute, in this mode, and one in force that is far away.
fn judge_by(world: &mut World, mode: &str) {
    let text = format!(
        r#"
name = "own-{mode}"

[[limit]]
name = "tried"
apis = "*"
scope = ["corp", "api"]
unit = "calls"
window = "60s"
cap = 10
mode = "{mode}"
source = "ours"

[[limit]]
name = "far"
apis = "*"
scope = ["corp"]
unit = "calls"
window = "1h"
cap = 1000
source = "ours"
"#
    );
    let own = Profile::from_toml(&text).unwrap();
    let (profile, operator) = (own.name.clone(), Operator::Corp);
    let reply = act(world, Command::PutLimits { profile, operator, own: Some(Box::new(own)) });
    assert!(matches!(reply, Reply::Done { changed: true, .. }), "{reply:?}");
}

fn call(world: &mut World, app: Seq) -> Reply {
    let secret = world.naive.tokens.apps[&app].secret;
    let reply = act(
        world,
        Command::Reserve(Admit {
            caller: Caller::Secret(secret),
            app,
            api: "message/send".to_owned(),
            method: "POST".to_owned(),
            ask: Ask::default(),
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: 1_000,
            request_bytes: 0,
            request_sha256: None,
            once: None,
            line: InLine::default(),
        }),
    );
    if let Reply::Admitted { pending, .. } = reply {
        let outcome = Outcome::Posted {
            not_sent: NotSent::default(),
            unreached: NotSent::default(),
            errcode: Some(0),
            http_status: 200,
            latency_us: 1,
            response_bytes: 1,
            answer: AnswerNotes::default(),
        };
        act(world, Command::Settle { pending, outcome, caller: None });
    }
    reply
}

fn alerts(world: &World) -> Vec<AlertRaised> {
    let entries = world.rows.iter().map(|row| row.entry().unwrap().body);
    let alerts = entries.filter_map(|body| match body {
        Body::AlertRaised(x) => Some(x),
        _ => None,
    });
    alerts.collect()
}

fn told(world: &World) -> Vec<(String, u8, u64, bool)> {
    alerts(world).into_iter().map(|x| (x.limit, x.percent, x.used, x.shadow)).collect()
}

fn tried(percent: u8, used: u64, shadow: bool) -> (String, u8, u64, bool) {
    ("tried".to_owned(), percent, used, shadow)
}

#[test]
fn a_limit_in_force_raises_an_alert_at_each_threshold_once() {
    let (mut world, [app, _]) = world();
    judge_by(&mut world, "enforce");
    for _ in 0..10 {
        assert!(matches!(call(&mut world, app), Reply::Admitted { .. }));
    }
    assert!(matches!(call(&mut world, app), Reply::Refused(Refusal::Limit { .. })));
    assert_eq!(told(&world), [tried(80, 8, false), tried(90, 9, false), tried(100, 10, false)]);
    assert!(fold(&world.rows).shadowed.is_empty());
}

#[test]
fn a_limit_in_shadow_mode_raises_the_same_alerts_marked_and_counts_what_it_would_have_refused() {
    let (mut world, [app, _]) = world();
    judge_by(&mut world, "shadow");
    for _ in 0..13 {
        assert!(matches!(call(&mut world, app), Reply::Admitted { .. }), "it refuses nothing");
    }
    assert_eq!(told(&world), [tried(80, 8, true), tried(90, 9, true), tried(100, 10, true)]);
    let shadowed = fold(&world.rows).shadowed;
    assert_eq!((shadowed.len(), shadowed["tried"].calls), (1, 3));
    // Once it is in force it begins anew.
    judge_by(&mut world, "enforce");
    assert!(fold(&world.rows).shadowed.is_empty());
    world.machine.real += 120_000;
    for _ in 0..9 {
        call(&mut world, app);
    }
    assert_eq!(told(&world)[3..], [tried(80, 8, false), tried(90, 9, false)]);
}

#[test]
fn a_call_that_goes_over_a_shadow_limit_at_once_raises_the_highest_threshold() {
    let (mut world, [app, _]) = world();
    judge_by(&mut world, "shadow");
    for _ in 0..7 {
        call(&mut world, app);
    }
    act(&mut world, Command::PutCap { corp_id: "corp".to_owned(), limit: "tried".to_owned(), cap: Some(3) });
    assert!(matches!(call(&mut world, app), Reply::Admitted { .. }));
    assert_eq!(told(&world), [tried(100, 7, true)]);
    assert!(alerts(&world)[0].again_tick >= world.rows.last().unwrap().tick + 60_000);
}
