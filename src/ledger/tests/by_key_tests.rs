//! What API keys may change, and who did it.

use crate::ledger::command::{ApiKeyChange, ApiKeyTerms, Caller, Command, Refusal, Reply, Unauthorized};
use crate::ledger::entry::{Scope, Seq};
use crate::quota::{Operator, Unit};

use super::penalty_tests::{call, posted, voided};
use super::rule_tests::{act, world};
use super::world::World;

fn key(world: &mut World, number: u8, scope: Scope, apps: &[&str]) -> Seq {
    let apps = apps.iter().map(|app| (*app).to_owned()).collect();
    let terms = ApiKeyTerms { name: "key".to_owned(), scopes: vec![scope], apps, ..ApiKeyTerms::default() };
    match act(world, Command::CreateApiKey { terms, fingerprint: [number; 32] }) {
        Reply::Done { seq, .. } => seq,
        other => panic!("{other:?}"),
    }
}

/// Each of what a key can change, and one that changes nothing but for a penalty.
fn acts(world: &mut World) -> Vec<Command> {
    let app = *world.naive.tokens.apps.keys().next().unwrap();
    let pending = call(world, app);
    act(world, Command::Settle { pending, outcome: posted(Some(45009)), caller: None });
    let started = world.rows.last().unwrap().seq;
    let limit = "corp-api-minute".to_owned();
    vec![
        Command::PutCap { corp_id: "corp".to_owned(), limit: limit.clone(), cap: Some(7) },
        Command::PutReserve { limit: Some(limit), percent: 10 },
        Command::PutAlertAt { percents: vec![50] },
        Command::Declare {
            corp_id: "corp".to_owned(),
            agent_id: None,
            api: None,
            unit: Unit::PersonTimes,
            amount: 1,
            note: String::new(),
            article: 0,
        },
        Command::ClearPenalty { started },
        Command::PutLimits { profile: "wecom-2023".to_owned(), operator: Operator::Corp, own: None },
    ]
}

fn by(api_key: Seq, command: &Command) -> Command {
    Command::ByKey { api_key, act: Box::new(command.clone()) }
}

#[test]
fn an_act_of_a_key_is_decided_by_what_the_key_may_and_names_it() {
    let (mut world, _) = world();
    let acts = acts(&mut world);
    let admin = key(&mut world, 1, Scope::Admin, &[]);
    let reader = key(&mut world, 2, Scope::Report, &[]);
    let revoked = key(&mut world, 4, Scope::Admin, &[]);
    act(&mut world, Command::SetApiKey { api_key: revoked, change: ApiKeyChange::Revoke });
    for command in &acts {
        let head = world.rows.len();
        for (api_key, why) in [(reader, Unauthorized::NotAllowed), (revoked, Unauthorized::Ended)] {
            let refused = Reply::Refused(Refusal::Unauthorized(why));
            assert_eq!(act(&mut world, by(api_key, command)), refused, "{command:?}");
        }
        assert_eq!(world.rows.len(), head, "{command:?}");
        let done = act(&mut world, by(admin, command));
        assert!(matches!(done, Reply::Done { changed: true, .. }), "{command:?}: {done:?}");
        assert_eq!(world.rows.last().unwrap().api_key, Some(admin), "{command:?}");
    }
    world.everybody_agrees();
}

#[test]
fn an_alert_that_a_keys_declaration_raises_is_not_about_the_key() {
    use crate::ledger::Kind;
    let (mut world, _) = world();
    let admin = key(&mut world, 1, Scope::Admin, &[]);
    let mut declare = |amount| {
        let (corp_id, note) = ("corp".to_owned(), String::new());
        let unit = Unit::Apps;
        let declare = Command::Declare { corp_id, agent_id: None, api: None, unit, amount, note, article: 0 };
        let before = world.rows.len();
        act(&mut world, by(admin, &declare));
        world.rows[before..].iter().map(|row| (row.kind, row.api_key)).collect::<Vec<_>>()
    };
    let raised = [(Kind::UsageDeclared, Some(admin)), (Kind::AlertRaised, None)];
    assert_eq!(declare(27), raised);
    assert_eq!(declare(1), raised[..1], "it is no news");
}

#[test]
fn a_key_that_ends_settles_nothing_more() {
    let (mut world, [app, _]) = world();
    let mine = key(&mut world, 1, Scope::Call, &[]);
    let pending = call(&mut world, app);
    act(&mut world, Command::SetApiKey { api_key: mine, change: ApiKeyChange::Pause });
    let settle = Command::Settle { pending, outcome: voided(), caller: Some(Caller::Key(mine)) };
    assert_eq!(act(&mut world, settle), Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended)));
}

#[test]
fn what_is_not_for_keys_is_no_act_of_one() {
    let (mut world, _) = world();
    let admin = key(&mut world, 1, Scope::Admin, &[]);
    let remove = Command::RemoveCorp { corp_id: "corp".to_owned() };
    let nested = by(admin, &by(admin, &Command::PutAlertAt { percents: vec![50] }));
    for command in [by(admin, &remove), nested] {
        assert!(matches!(act(&mut world, command), Reply::Rejected(_)));
    }
}
