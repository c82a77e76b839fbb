//! Random histories of the pure core, checked against the naive model after every step.

use proptest::prelude::*;

use crate::ledger::command::{
    Admit, ApiKeyChange, ApiKeyEdit, ApiKeyTerms, Ask, Caller, Command, FetchOutcome, FetchReason, InLine,
    Outcome, OwnChange, OwnNumber, Refusal, Reply, To,
};
use crate::ledger::entry::{AnswerNotes, Priority, Scope, Seq};
use crate::quota::Operator;

use super::naive::Call;
use super::ops::{Fate, Op, Step, steps};
use super::world::World;
use super::{config, plain};

const APIS: [&str; 3] = ["message/send", "no/such/api", "gettoken"];
const APPS: [(&str, &str); 4] = [("corp0", "app0"), ("corp0", "app1"), ("corp1", "app0"), ("corp1", "app1")];

fn run(steps: &[Step]) -> World {
    let mut world = World::new();
    world.start(0, Fate::Acknowledged);
    world.start(1, Fate::Acknowledged);
    let mut step = |op: Op| step(&mut world, &Step { who: 2, op, fate: Fate::Acknowledged });
    (0..2).for_each(|corp| step(Op::PutCorp(corp, 2)));
    (0..3).for_each(|app| step(Op::PutApp(app, 0)));
    step(Op::CreateKey { limited_to: None });
    step(Op::Cap(0, false, Some(3)));
    for each in steps {
        self::step(&mut world, each);
    }
    world.everybody_agrees();
    world
}

fn step(world: &mut World, Step { who, op, fate }: &Step) {
    let (who, fate) = (*who, *fate);
    match *op {
        Op::Wait(ms) => world.machine.real += ms,
        Op::WallStep(ms) => {
            let noted = world.noted_boot == world.machine.boot;
            let most = if noted { 9_000_000 } else { world.naive.may_wake_ahead() };
            world.machine.ahead = (world.machine.ahead + ms).max(-9_000_000).min(most);
        }
        Op::Reboot { off, ahead } => {
            world.machine.reboot(off, ahead.min(world.naive.may_wake_ahead()));
            world.processes.iter_mut().take(2).for_each(|process| process.alive = false);
        }
        Op::Kill if who < 2 => world.processes[who].alive = false,
        Op::Start if who < 2 => world.start(who, fate),
        _ if !world.processes[who].alive => {}
        Op::Bury => world.bury(who, fate),
        Op::Refold => world.everybody_agrees(),
        Op::Snapshot => world.take_snapshot(who),
        Op::Restore => world.restore(who),
        Op::Fetch(app, how) => {
            ask(world, who, &Op::BeginFetch(app, true), Fate::Acknowledged);
            ask(world, who, &Op::EndFetch(0, how), fate);
        }
        ref other => ask(world, who, other, fate),
    }
}

fn ask(world: &mut World, who: usize, op: &Op, fate: Fate) {
    let Some(command) = command(world, who, op) else { return };
    if let Some(reply) = world.command(who, command.clone(), fate) {
        expected(world, who, &command, &reply);
    }
}

fn app_seq(world: &World, app: usize) -> Seq {
    let (corp, agent) = APPS[app];
    let labels = |seq: &&Seq| {
        let state = &world.processes[2].state;
        state.directory.app_label(**seq) == Some(format!("{corp}/{agent}"))
    };
    world.naive.tokens.apps.keys().find(labels).copied().unwrap_or(9_999_999)
}

fn caller(world: &World, by: usize, app: usize) -> Caller {
    let keys: Vec<Seq> = world.naive.tokens.keys.keys().copied().filter(|&key| key > 0).collect();
    match by {
        0 => Caller::Secret(world.naive.tokens.apps.get(&app_seq(world, app)).map_or(1, |app| app.secret)),
        1 => Caller::Secret(5),
        _ => Caller::Key(keys.get(by % keys.len().max(1)).copied().unwrap_or(7)),
    }
}

/// Whom a message goes to; every form of it turns up.
fn to(api: usize, any: u32) -> To {
    match any % 4 {
        _ if api != 0 => To::Nobody,
        0 => To::Count(1),
        1 => To::Everyone,
        _ => {
            let some = |least: u32| (0..any / 4 % 2 + least).map(u64::from).collect();
            let [users, parties, tags] = [some(1), some(0), some(0)];
            To::Members { users, others: u64::from(any % 3), parties, tags, unreadable: 0 }
        }
    }
}

fn command(world: &World, who: usize, op: &Op) -> Option<Command> {
    Some(match *op {
        Op::Admit { by, app, api, needs_credential, timeout_ms } => Command::Admit(Admit {
            caller: caller(world, by, app),
            app: app_seq(world, app),
            api: APIS[api].to_owned(),
            method: "POST".to_owned(),
            ask: Ask { to: to(api, timeout_ms), ..Ask::default() },
            needs_credential,
            not_credential: None,
            retry_of: None,
            timeout_ms,
            request_bytes: 1,
            request_sha256: None,
            once: None,
            line: InLine { waits: timeout_ms.is_multiple_of(3), ..InLine::default() },
        }),
        Op::Settle(which, how) => {
            let pending = any_call(world, which, |call| call.process == world.processes[who].seq)?;
            Command::Settle { pending, outcome: outcome(how), caller: None }
        }
        Op::SettleForeign(which, by) => {
            let caller = Some(caller(world, by, which % 4));
            Command::Settle { pending: any_call(world, which, |_| true)?, outcome: outcome(0), caller }
        }
        Op::BeginFetch(app, refresh) => Command::BeginFetch {
            app: app_seq(world, app),
            why: if refresh { FetchReason::Refresh } else { FetchReason::Demand },
            timeout_ms: 10_000,
        },
        Op::EndFetch(which, how) => end_fetch(world, who, which, how)?,
        Op::Invalidate(app, back) => {
            let app = app_seq(world, app);
            let tokens = &world.naive.tokens.apps.get(&app)?.tokens;
            let credential = tokens.iter().rev().nth(back).or(tokens.last())?.seq;
            Command::Invalidate { credential, app, errcode: 40014, call: None }
        }
        Op::Issue { by, app } => Command::Issue { app: app_seq(world, app), caller: caller(world, by, app) },
        Op::Drain if who < 2 => {
            let process = world.processes[who].seq?;
            Command::EndProcess { process, how: crate::ledger::command::EndedHow::Drained }
        }
        _ => admin(world, op)?,
    })
}

fn admin(world: &World, op: &Op) -> Option<Command> {
    let label = |app: usize| (APPS[app].0.to_owned(), APPS[app].1.to_owned());
    Some(match *op {
        Op::PutCorp(corp, account_cap) => Command::PutCorp { corp_id: format!("corp{corp}"), account_cap },
        Op::RemoveCorp(corp) => Command::RemoveCorp { corp_id: format!("corp{corp}") },
        Op::PutApp(app, secret) => {
            let (corp_id, agent_id) = label(app);
            Command::PutApp { corp_id, agent_id, secret: plain("s"), fingerprint: [secret; 32] }
        }
        Op::ResetApp(app) => {
            let (corp_id, agent_id) = label(app);
            Command::ResetApp { corp_id, agent_id }
        }
        Op::RemoveApp(app) => {
            let (corp_id, agent_id) = label(app);
            Command::RemoveApp { corp_id, agent_id }
        }
        Op::CreateKey { limited_to } => Command::CreateApiKey {
            terms: ApiKeyTerms {
                name: "key".to_owned(),
                scopes: vec![Scope::Call],
                apps: limited_to.map(|app| format!("{}/{}", APPS[app].0, APPS[app].1)).into_iter().collect(),
                priority: Priority::Batch,
                ..ApiKeyTerms::default()
            },
            fingerprint: [world.rows.len() as u8; 32],
        },
        Op::SetKey(key, change) => {
            let keys: Vec<Seq> = world.naive.tokens.keys.keys().copied().collect();
            let change = match change {
                0 => ApiKeyChange::Revoke,
                1 | 2 => ApiKeyChange::Pause,
                3 => ApiKeyChange::Set(ApiKeyEdit { priority: Some(Priority::Critical), own: vec![] }),
                _ => ApiKeyChange::Resume,
            };
            Command::SetApiKey { api_key: keys[key % keys.len()], change }
        }
        Op::Cap(corp, hour, cap) => {
            let limit = if hour { "corp-api-hour" } else { "corp-api-minute" }.to_owned();
            Command::PutCap { corp_id: format!("corp{corp}"), limit, cap }
        }
        Op::Own(key, hour, number, share) => {
            let keys: Vec<Seq> = world.naive.tokens.keys.keys().copied().collect();
            let limit = if hour { "corp-api-hour" } else { "corp-api-minute" }.to_owned();
            let number = if share {
                OwnNumber::MaxSharePercent(number.map(|number| number as u8 * 20))
            } else {
                OwnNumber::Cap(number)
            };
            let change = ApiKeyEdit { priority: None, own: vec![OwnChange { limit, number }] };
            Command::SetApiKey { api_key: keys[key % keys.len()], change: ApiKeyChange::Set(change) }
        }
        Op::RestoreCap(which) => {
            let learned = &world.naive.learned;
            Command::RestoreCap { learned: learned.get(which % learned.len().max(1)).map_or(9, |it| it.seq) }
        }
        Op::Operator(provider) => Command::PutLimits {
            own: None,
            profile: "qyh-2015".to_owned(),
            operator: if provider { Operator::Provider } else { Operator::Corp },
        },
        _ => return None,
    })
}

/// One of the calls that fit, preferably a pending one.
fn any_call(world: &World, which: usize, fits: impl Fn(&Call) -> bool) -> Option<Seq> {
    let fits = |call: &&Call| fits(call);
    let pending: Vec<Seq> = world.naive.pendings().filter(fits).map(|call| call.seq).collect();
    let all: Vec<Seq> = world.naive.calls.iter().filter(fits).map(|call| call.seq).collect();
    let from = if which.is_multiple_of(4) || pending.is_empty() { all } else { pending };
    (!from.is_empty()).then(|| from[which % from.len()])
}

fn outcome(how: u8) -> Outcome {
    match how {
        0 | 1 => Outcome::Voided { reason: "not connected".to_owned() },
        2 => Outcome::Expired { reason: "broken".to_owned() },
        _ => Outcome::Posted {
            not_sent: crate::ledger::command::NotSent::default(),
            unreached: crate::ledger::command::NotSent::default(),
            errcode: Some(match how {
                6 => 45009,
                7 => 45033,
                _ => 0,
            }),
            http_status: 200,
            latency_us: 1,
            response_bytes: 2,
            answer: AnswerNotes::default(),
        },
    }
}

fn end_fetch(world: &World, who: usize, which: usize, how: u8) -> Option<Command> {
    let mine = |call: &&Call| call.fetch && call.process == world.processes[who].seq;
    let fetches: Vec<Seq> =
        world.naive.calls.iter().filter(mine).rev().take(3).map(|call| call.seq).collect();
    let pending = *fetches.get(which.saturating_sub(5))?;
    let app = world.naive.tokens.apps.values().find(|app| app.fetch == Some(pending));
    let before = app.and_then(|app| app.tokens.last()).map(|token| token.fingerprint);
    let fresh = std::array::from_fn(|i| pending.to_le_bytes()[i % 8]);
    let token = |fingerprint, expires_in_ms| FetchOutcome::Token {
        token: plain("t"),
        fingerprint,
        expires_in_ms,
        refresh_after_ms: expires_in_ms / 2,
        http_status: 200,
        latency_us: 1,
    };
    let refused = |errcode| {
        let errmsg = "no".to_owned();
        let (hint, from_ip) = (None, None);
        FetchOutcome::Refused { errcode, errmsg, hint, from_ip, http_status: 200, latency_us: 1 }
    };
    let outcome = match how {
        0 | 1 => token(fresh, 7_200_000),
        2 => token(fresh, 90_000),
        3..=5 => token(before.unwrap_or(fresh), 7_200_000),
        6 => refused(40001),
        7 => refused(if which.is_multiple_of(2) { -1 } else { 45009 }),
        8 => FetchOutcome::Unknown { reason: "timeout".to_owned() },
        _ => FetchOutcome::NotSent { reason: "dns".to_owned() },
    };
    Some(Command::EndFetch { pending, outcome })
}

/// What the naive model would have answered. It has seen the entries of the command already.
fn expected(world: &World, who: usize, command: &Command, reply: &Reply) {
    let state = &world.processes[who].state;
    let tick = crate::ledger::decide::now(state, &world.machine.reading()).tick;
    match (command, reply) {
        (Command::Admit(admit), Reply::Admitted { .. }) => {
            let Caller::Key(key) = admit.caller else { return };
            let key = &world.naive.tokens.keys[&key];
            assert!(key.apps.is_empty() || key.apps.contains(&admit.app));
        }
        (Command::Admit(_), Reply::Refused(Refusal::Limit { reading, key, .. })) => {
            let (api, rule) = (key.api.unwrap(), reading.rule);
            if *reading.limit == *"messages-corp-day" {
                return; // The model counts calls only.
            }
            let counted = world.naive.usage(key.corp, api, key.api_key, &reading.limit, rule, tick);
            assert_eq!(Some((reading.used, reading.cap)), counted);
            assert!(!world.naive.has_room(key.corp, api, key.api_key, tick));
        }
        (Command::Issue { app, .. }, Reply::Issued { credential, .. })
        | (Command::BeginFetch { app, .. }, Reply::Have { credential }) => {
            let valid = world.naive.tokens.apps[app].valid(tick);
            assert_eq!(valid.map(|token| token.seq), Some(*credential));
        }
        (Command::Issue { app, .. }, Reply::Refused(Refusal::NoCredential)) => {
            assert!(world.naive.tokens.apps[app].valid(tick).is_none());
        }
        (Command::Settle { pending, outcome, caller: None }, Reply::Rejected(_)) => {
            let call = world.naive.calls.iter().find(|call| call.seq == *pending).unwrap();
            let answer = matches!(outcome, Outcome::Posted { .. });
            let still_counts = call.end.is_none_or(|end| end.expired && answer && !call.late);
            assert!(call.fetch || !still_counts, "{call:?} refused {outcome:?}");
        }
        (Command::BeginFetch { app, why, .. }, reply) => {
            let Some(app) = world.naive.tokens.apps.get(app) else { return };
            let fits = |token: &super::naive_tokens::Token| {
                *why == FetchReason::Refresh && tick >= token.refresh || tick >= token.expires
            };
            match reply {
                Reply::Wait => assert!(app.fetch.is_some()),
                Reply::Fetch { .. } => assert!(app.valid(tick).is_none_or(fits)),
                Reply::Refused(Refusal::CredentialUnavailable { errcode: Some(45009 | 45033), .. }) => {}
                Reply::Refused(_) => assert!(!app.may_fetch(tick)),
                _ => assert!(app.removed),
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn random_histories_keep_every_promise(steps in steps()) {
        run(&steps);
    }
}
