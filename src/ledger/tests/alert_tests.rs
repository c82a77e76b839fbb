//! Alerts: when a limit is nearly used up, and when one that is only tried would be.

use crate::ledger::alerts::{About, Alerts, Share};
use crate::ledger::command::{Admit, Ask, Caller, Command, InLine, NotSent, Now, Outcome, Refusal, Reply};
use crate::ledger::decide::decide;
use crate::ledger::entry::{AlertRaised, AnswerNotes, Body, Seq};
use crate::quota::{Operator, Profile};

use super::fold;
use super::ops::Fate;
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
    call_as(world, 0, app, 0)
}

/// Of a process, and with a message for a group robot.
fn call_as(world: &mut World, who: usize, app: Seq, chat: u64) -> Reply {
    let secret = world.naive.tokens.apps[&app].secret;
    let reply = world.command(
        who,
        Command::Reserve(Admit {
            caller: Caller::Secret(secret),
            app,
            api: "message/send".to_owned(),
            method: "POST".to_owned(),
            ask: Ask { chat, ..Ask::default() },
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: 1_000,
            request_bytes: 0,
            request_sha256: None,
            once: None,
            line: InLine::default(),
        }),
        Fate::Acknowledged,
    );
    let reply = reply.unwrap();
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
        world.command(who, Command::Settle { pending, outcome, caller: None }, Fate::Acknowledged);
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

#[test]
fn a_limit_that_stays_nearly_used_up_is_raised_less_and_less_often() {
    let (mut world, [app, _]) = world();
    judge_by(&mut world, "enforce");
    let quiet = |world: &mut World, minutes: u32| -> Vec<i64> {
        let before = alerts(world).len();
        for _ in 0..minutes / 5 {
            world.machine.real += 300_000;
            (0..8).for_each(|_| drop(call(world, app)));
        }
        let raised = world.rows.iter().map(|row| row.entry().unwrap()).filter_map(|entry| match entry.body {
            Body::AlertRaised(x) => Some((x.again_tick - entry.tick) / 60_000),
            _ => None,
        });
        raised.skip(before).collect()
    };
    assert_eq!(quiet(&mut world, 200), [10, 20, 40, 80, 160]);
    assert_eq!(quiet(&mut world, 120), [320]);
    // Once it has been well for longer than that, it is news as it was at first.
    world.machine.real += 24 * 3_600_000;
    assert_eq!(quiet(&mut world, 15), [10, 20]);
}

#[test]
fn a_limit_that_stays_nearly_used_up_is_told_of_once_a_day_at_least() {
    let (mut world, [app, _]) = world();
    judge_by(&mut world, "enforce");
    for _ in 0..7 {
        call(&mut world, app);
    }
    let mut state = fold(&world.rows);
    let (tick, hours) = (state.tick, 3_600_000);
    let (corp, api) = (state.directory.apps[&app].corp, state.directory.api("message/send").unwrap());
    let about = About { limit: "tried".to_owned(), corp, api, ..About::default() };
    for (quiet, expected) in [(8 * hours, 16 * hours), (20 * hours, 24 * hours), (24 * hours, 24 * hours)] {
        let before = AlertRaised {
            limit: "tried".to_owned(),
            percent: 80,
            used: 8,
            cap: 10,
            again_tick: tick,
            shadow: false,
            egress_ip: 0,
            chat: 0,
        };
        state.alerts.raise(about.clone(), &before, tick - quiet);
        let admit = super::penalty_tests::admit(&world, app, "message/send");
        let drafts = decide(&state, admit, Now { tick, at: state.at }, None).drafts;
        let again = drafts.into_iter().find_map(|draft| match draft.body {
            Body::AlertRaised(x) => Some(x.again_tick - tick),
            _ => None,
        });
        assert_eq!(again, Some(expected));
    }
}

#[test]
fn an_alert_about_one_ip_or_one_robot_silences_no_other() {
    let (mut world, [app, _]) = world();
    world.start(1, Fate::Acknowledged);
    let limit = |name: &str, scope: &str| {
        format!(
            "[[limit]]\nname = \"{name}\"\napis = \"*\"\nscope = [{scope}]\nunit = \"calls\"\nwindow = \"60s\"\ncap = 10\nsource = \"ours\"\n"
        )
    };
    let text = format!("name = \"two\"\n{}{}", limit("ip", "\"egress_ip\""), limit("robot", "\"chat\""));
    let own = Some(Box::new(Profile::from_toml(&text).unwrap()));
    act(&mut world, Command::PutLimits { profile: "two".to_owned(), operator: Operator::Corp, own });
    act(&mut world, Command::PutAlertAt { percents: vec![40] });
    for (who, chat) in [(0, 7), (1, 8)] {
        // The last ones are over the threshold as well, and no news.
        (0..10).for_each(|_| drop(call_as(&mut world, who, app, chat)));
    }
    let about: Vec<(String, Seq, u64)> =
        alerts(&world).into_iter().map(|x| (x.limit, x.egress_ip, x.chat)).collect();
    let ips: Vec<Seq> = fold(&world.rows).egress_ips.into_values().collect();
    let told = |limit: &str, ip, chat| (limit.to_owned(), ip, chat);
    let expected = [told("ip", ips[0], 0), told("robot", 0, 7), told("ip", ips[1], 0), told("robot", 0, 8)];
    assert_eq!(about, expected);
}

#[test]
fn what_can_not_be_remembered_is_not_raised_again_and_again() {
    let about = |api: Seq| About { limit: "one".to_owned(), api, ..About::default() };
    let raised = |percent, again_tick| AlertRaised {
        limit: "one".to_owned(),
        percent,
        used: 1,
        cap: 1,
        again_tick,
        shadow: false,
        egress_ip: 0,
        chat: 0,
    };
    let mut all = Alerts::default();
    for api in 0..10_000 {
        all.raise(about(api), &raised(80, 1_000), 0);
    }
    assert!(!all.is_news(&about(10_000), 100, 0));
    // What is known is still followed.
    assert!(all.is_news(&about(5), 90, 0) && !all.is_news(&about(5), 80, 0));
    all.raise(about(5), &raised(90, 2_000), 0);
    assert!(!all.is_news(&about(5), 90, 1_999) && all.is_news(&about(5), 90, 2_000));
    all.prune(999);
    assert!(!all.is_news(&about(10_000), 100, 999));
    all.prune(1_000);
    assert!(all.is_news(&about(10_000), 80, 1_000) && !all.is_news(&about(5), 90, 1_000));
}

#[test]
fn what_one_client_can_bring_about_as_often_as_it_likes_silences_nothing_else() {
    let about = |chat, api_key, api| About { api, api_key, chat, ..About::default() };
    let (limit, again_tick) = (String::new(), 1_000);
    let raised =
        AlertRaised { limit, percent: 80, used: 1, cap: 1, again_tick, shadow: false, egress_ip: 0, chat: 0 };
    let mut all = Alerts::default();
    for made_up in 1..=1_000 {
        assert!(!all.is_full(0) && all.is_news(&about(made_up, made_up, 0), 80, 0));
        all.raise(about(made_up, made_up, 0), &raised, 0);
    }
    assert!(all.is_full(0) && !all.is_full(1_000));
    assert!(!all.is_news(&about(1_001, 1, 0), 80, 0));
    assert!(all.is_news(&about(0, 1, 0), 80, 0) && all.is_news(&about(0, 0, 1), 80, 0));
    for api in 1..=1_000 {
        all.raise(about(0, 1, api), &raised, 0);
    }
    assert!(!all.is_news(&about(0, 1, 1_001), 80, 0) && all.is_news(&about(0, 0, 1), 80, 0));
    all.prune(1_000);
    assert!(all.is_news(&about(1_001, 1, 0), 80, 1_000));
}

#[test]
fn alerts_about_chats_and_keys_leave_room_in_the_queue_and_go_first() {
    let mut all = Alerts::default();
    all.want(true);
    all.queue_up(1, Share::Common, 0);
    (2..=301).for_each(|seq| all.queue_up(seq, Share::Chat, 5));
    (302..=311).for_each(|seq| all.queue_up(seq, Share::ApiKey, 6));
    assert_eq!(all.queue().collect::<Vec<_>>(), [1].into_iter().chain(202..=311).collect::<Vec<_>>());
    assert_eq!(
        (all.dropped, all.dropped_lately(5 + 86_399_999), all.dropped_lately(5 + 86_400_000)),
        (200, true, false)
    );
    (312..=1_310).for_each(|seq| all.queue_up(seq, Share::Common, 7));
    assert_eq!(all.queue().collect::<Vec<_>>(), [1].into_iter().chain(312..=1_310).collect::<Vec<_>>());
    all.queue_up(1_311, Share::Common, 8);
    assert_eq!((all.queue().next(), all.queue().count()), (Some(312), 1_000));
    all.delivered(1_000);
    assert_eq!(all.queue().next(), Some(1_001));
}

#[test]
fn what_clients_say_of_wecoms_blocks_pushes_out_no_other_alert() {
    let (mut world, [app, _]) = world();
    act(&mut world, start(true));
    for api in 0..101 {
        let admit = super::penalty_tests::admit(&world, app, &format!("made/up{api}"));
        let Command::Admit(admit) = admit else { panic!() };
        let Reply::Admitted { pending, .. } = act(&mut world, Command::Reserve(admit)) else { panic!() };
        super::penalty_tests::settle(&mut world, pending, super::penalty_tests::posted(Some(45009)));
    }
    let alerts = fold(&world.rows).alerts;
    assert_eq!((alerts.queue().count(), alerts.dropped), (100, 1));
}

fn start(webhook: bool) -> Command {
    Command::StartProcess {
        instance: format!("with webhook: {webhook}"),
        pid: 1,
        egress_ip: "default".to_owned(),
        version: "1".to_owned(),
        learn_caps_after: None,
        webhook,
    }
}

#[test]
fn a_webhook_is_not_told_of_what_happened_before_there_was_one_and_of_all_that_did_since() {
    let (mut world, [app, _]) = world();
    judge_by(&mut world, "enforce");
    let queued = |world: &World| fold(&world.rows).alerts.queue().count();
    act(&mut world, start(false));
    for _ in 0..8 {
        call(&mut world, app);
    }
    assert_eq!((alerts(&world).len(), queued(&world)), (1, 0));
    act(&mut world, start(true));
    call(&mut world, app);
    assert_eq!((alerts(&world).len(), queued(&world)), (2, 1));
    // A restart forgets nothing that waits; a start without a webhook does.
    act(&mut world, start(true));
    assert_eq!(queued(&world), 1);
    act(&mut world, start(false));
    assert_eq!(queued(&world), 0);
}
