//! What single API keys may use of limits.

use crate::ledger::Kind;
use crate::ledger::command::{
    Admit, ApiKeyChange, ApiKeyEdit, ApiKeyTerms, Ask, Caller, Command, InLine, OwnChange, OwnNumber, Reach,
    Refusal, Rejected, Reply,
};
use crate::ledger::decide::OWN_RULES_MAX;
use crate::ledger::entry::{Body, OwnRule, Scope, Seq};
use crate::quota::{Operator, Own, Reading, Rule};

use super::fold;
use super::ops::Fate;
use super::penalty_tests::{posted, settle};
use super::rule_tests::{act, world};
use super::world::World;

const LIMIT: &str = "corp-api-minute";

fn cap(limit: &str, cap: u64) -> OwnChange {
    OwnChange { limit: limit.to_owned(), number: OwnNumber::Cap((cap > 0).then_some(cap)) }
}

fn share(limit: &str, percent: u8) -> OwnChange {
    let number = OwnNumber::MaxSharePercent((percent > 0).then_some(percent));
    OwnChange { limit: limit.to_owned(), number }
}

fn create(number: u8, own: Vec<OwnChange>) -> Command {
    let (name, scopes) = (format!("key {number}"), vec![Scope::Call]);
    let terms = ApiKeyTerms { name, scopes, own, ..ApiKeyTerms::default() };
    Command::CreateApiKey { terms, fingerprint: [number; 32] }
}

fn key(world: &mut World, number: u8, own: Vec<OwnChange>) -> Seq {
    match act(world, create(number, own)) {
        Reply::Done { seq, changed: true } => seq,
        other => panic!("{other:?}"),
    }
}

fn set(api_key: Seq, own: Vec<OwnChange>) -> Command {
    Command::SetApiKey { api_key, change: ApiKeyChange::Set(ApiKeyEdit { priority: None, own }) }
}

fn changed(world: &mut World, command: Command) -> bool {
    match act(world, command) {
        Reply::Done { changed, .. } => changed,
        other => panic!("{other:?}"),
    }
}

fn admit(key: Seq, app: Seq, api: &str) -> Admit {
    Admit {
        caller: Caller::Key(key),
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
    }
}

fn try_call(world: &mut World, key: Seq, app: Seq) -> Result<Seq, (Reading, Option<i64>, Reach)> {
    match act(world, Command::Admit(admit(key, app, "user/get"))) {
        Reply::Admitted { pending, .. } => Ok(pending),
        Reply::Refused(Refusal::Limit { reading, retry_at, reach, .. }) => Err((reading, retry_at, reach)),
        other => panic!("{other:?}"),
    }
}

/// So many calls pass, each of which ends at once.
fn spend(world: &mut World, key: Seq, app: Seq) -> u64 {
    let mut passed = 0;
    while let Ok(pending) = try_call(world, key, app) {
        settle(world, pending, posted(Some(0)));
        passed += 1;
    }
    passed
}

fn said(reply: &Reply) -> &str {
    match reply {
        Reply::Rejected(Rejected::Invalid(what)) => what,
        other => panic!("{other:?}"),
    }
}

fn newest(world: &World) -> Body {
    world.rows.last().unwrap().entry().unwrap().body
}

fn rules(world: &World, key: Seq) -> Vec<(String, Own)> {
    fold(&world.rows).meters.owns_of(key).map(|(limit, own)| (limit.to_owned(), own)).collect()
}

#[test]
fn an_own_cap_refuses_its_key_alone_and_says_so_on_record() {
    let (mut world, [app, _]) = world();
    let (greedy, other) = (key(&mut world, 1, vec![cap(LIMIT, 2)]), key(&mut world, 2, vec![]));
    assert_eq!(spend(&mut world, greedy, app), 2);
    let (reading, retry_at, reach) = try_call(&mut world, greedy, app).unwrap_err();
    assert_eq!((&*reading.limit, reading.rule, reading.used, reading.cap), (LIMIT, Rule::Own, 2, 2));
    assert_eq!(reach, Reach::Caller);
    try_call(&mut world, other, app).unwrap();
    let Some(Body::CallRefused(x)) =
        world.rows.iter().map(|row| row.entry().unwrap().body).find(|it| matches!(it, Body::CallRefused(_)))
    else {
        panic!()
    };
    assert_eq!((x.limit.as_str(), x.rule, x.used, x.cap), (LIMIT, Rule::Own, 2, 2));
    // What was said to be the first moment is.
    let wait = retry_at.unwrap() - world.rows.last().unwrap().tick;
    world.machine.real += wait - 1;
    assert!(try_call(&mut world, greedy, app).is_err());
    world.machine.real += 1;
    assert!(try_call(&mut world, greedy, app).is_ok());
}

#[test]
fn a_share_follows_the_cap_of_the_limit() {
    let (mut world, [app, _]) = world();
    let limited = key(&mut world, 1, vec![share(LIMIT, 30)]);
    let put = |cap| Command::PutCap { corp_id: "corp".to_owned(), limit: LIMIT.to_owned(), cap: Some(cap) };
    act(&mut world, put(10));
    assert_eq!(spend(&mut world, limited, app), 3);
    assert_eq!(try_call(&mut world, limited, app).unwrap_err().0.rule, Rule::Share);
    act(&mut world, put(20));
    assert_eq!(spend(&mut world, limited, app), 3, "6 of 20, at once");
}

#[test]
fn a_raise_holds_at_once_also_for_calls_under_way() {
    let (mut world, [app, _]) = world();
    let key = key(&mut world, 1, vec![cap(LIMIT, 2)]);
    let under_way = [try_call(&mut world, key, app).unwrap(), try_call(&mut world, key, app).unwrap()];
    assert!(try_call(&mut world, key, app).is_err());
    assert!(changed(&mut world, set(key, vec![cap(LIMIT, 3)])));
    for pending in under_way {
        settle(&mut world, pending, posted(Some(0)));
    }
    assert_eq!(spend(&mut world, key, app), 1);
    // A rule that is taken back and given anew counts from then on, but what is under way counts.
    let pending = {
        assert!(changed(&mut world, set(key, vec![cap(LIMIT, 0)])));
        try_call(&mut world, key, app).unwrap()
    };
    assert!(changed(&mut world, set(key, vec![cap(LIMIT, 2)])));
    assert_eq!(spend(&mut world, key, app), 1);
    settle(&mut world, pending, posted(Some(0)));
    assert_eq!(spend(&mut world, key, app), 0);
    world.everybody_agrees();
}

#[test]
fn one_number_of_a_rule_changes_and_the_other_stays() {
    let (mut world, _) = world();
    let key = key(&mut world, 1, vec![cap(LIMIT, 5), share(LIMIT, 20)]);
    let Body::ApiKeyCreated(created) = newest(&world) else { panic!() };
    let both = OwnRule { limit: LIMIT.to_owned(), cap: Some(5), max_share_percent: Some(20) };
    assert_eq!(created.own, std::slice::from_ref(&both));
    assert!(changed(&mut world, set(key, vec![cap(LIMIT, 6)])));
    let Body::ApiKeySet(set_to) = newest(&world) else { panic!() };
    assert_eq!(set_to.own, [OwnRule { cap: Some(6), ..both }], "the entry has the rule that holds");
    assert!(!changed(&mut world, set(key, vec![cap(LIMIT, 6), share(LIMIT, 20)])));
    assert!(changed(&mut world, set(key, vec![cap(LIMIT, 0)])));
    let only_share = Own { cap: None, max_share_percent: Some(20) };
    assert_eq!(rules(&world, key), [(LIMIT.to_owned(), only_share)]);
    assert!(changed(&mut world, set(key, vec![share(LIMIT, 0)])));
    assert_eq!(rules(&world, key), []);
    assert!(!changed(&mut world, set(key, vec![share(LIMIT, 0)])), "it has none");
}

#[test]
fn a_rule_that_makes_no_sense_is_refused_with_what_to_do() {
    let (mut world, _) = world();
    let key = key(&mut world, 1, vec![]);
    let mut refused = |own: OwnChange| {
        let both =
            [create(2, vec![own.clone()]), set(key, vec![own])].map(|command| act(&mut world, command));
        assert_eq!(both[0], both[1]);
        said(&both[0]).to_owned()
    };
    assert!(refused(cap("none", 1)).contains("use one of: corp-api-minute, "));
    assert!(refused(cap("apps-total", 1)).contains("that counts calls"), "only declarations count there");
    let none = OwnChange { number: OwnNumber::Cap(Some(0)), ..cap(LIMIT, 1) };
    assert!(refused(none).contains("1 to 4294967295; to refuse every call of a key, pause it"));
    assert!(refused(cap(LIMIT, 1 << 32)).contains("1 to 4294967295"));
    let none = OwnChange { number: OwnNumber::MaxSharePercent(Some(0)), ..cap(LIMIT, 1) };
    assert!(refused(none).contains("1 to 100 percent"));
    assert!(refused(share(LIMIT, 101)).contains("1 to 100 percent"));
}

#[test]
fn rules_of_a_key_are_bounded() {
    let (mut world, _) = world();
    let limit = |i: usize| {
        let window = 60 + i;
        format!(
            "[[limit]]\nname = \"limit-{i}\"\napis = \"*\"\nscope = [\"corp\"]\nunit = \"calls\"\n\
             window = \"{window}s\"\ncap = 9\nsource = \"made up\"\n"
        )
    };
    let limits: Vec<String> = (0..=OWN_RULES_MAX).map(limit).collect();
    let limits = limits.concat();
    let own = crate::quota::Profile::from_toml(&format!("name = \"own\"\n{limits}")).unwrap();
    let put =
        Command::PutLimits { profile: "own".to_owned(), operator: Operator::Corp, own: Some(Box::new(own)) };
    assert!(changed(&mut world, put));
    let rule = |i: usize| cap(&format!("limit-{i}"), 1);
    let key = key(&mut world, 1, (0..OWN_RULES_MAX).map(rule).collect());
    assert!(said(&act(&mut world, set(key, vec![rule(OWN_RULES_MAX)]))).contains("at most 64 limits"));
    assert!(changed(&mut world, set(key, vec![cap("limit-0", 0), rule(OWN_RULES_MAX)])), "one for another");
}

#[test]
fn rules_survive_restarts_snapshots_and_a_change_of_profile() {
    let (mut world, [app, _]) = world();
    let key = key(&mut world, 1, vec![cap(LIMIT, 3)]);
    let pending = try_call(&mut world, key, app).unwrap();
    world.take_snapshot(0);
    for from_snapshot in [false, true] {
        world.start(0, Fate::Acknowledged);
        if from_snapshot {
            world.restore(0);
        }
        world.everybody_agrees();
    }
    for profile in ["wecom-2023", "qyh-2015"] {
        let profile = profile.to_owned();
        let put = Command::PutLimits { profile, operator: Operator::Corp, own: None };
        assert!(changed(&mut world, put));
        assert_eq!(rules(&world, key).len(), 1);
        world.everybody_agrees();
    }
    settle(&mut world, pending, posted(Some(0)));
    assert_eq!(spend(&mut world, key, app), 2);
}

#[test]
fn a_revoked_key_has_no_rules_and_its_calls_under_way_end_as_ever() {
    let (mut world, [app, _]) = world();
    let (gone, other) = (key(&mut world, 1, vec![cap(LIMIT, 3)]), key(&mut world, 2, vec![cap(LIMIT, 1)]));
    let pending = try_call(&mut world, gone, app).unwrap();
    act(&mut world, Command::SetApiKey { api_key: gone, change: ApiKeyChange::Revoke });
    assert_eq!((rules(&world, gone).len(), rules(&world, other).len()), (0, 1));
    settle(&mut world, pending, posted(Some(0)));
    assert_eq!(spend(&mut world, other, app), 1);
    assert!(matches!(
        act(&mut world, set(gone, vec![cap(LIMIT, 1)])),
        Reply::Rejected(Rejected::Conflict(_))
    ));
    world.everybody_agrees();
}

#[test]
fn refusals_by_different_rules_of_one_second_are_not_mixed_up() {
    let (mut world, [app, _]) = world();
    let key = key(&mut world, 1, vec![cap(LIMIT, 1)]);
    assert_eq!(spend(&mut world, key, app), 1);
    let put = Command::PutCap { corp_id: "corp".to_owned(), limit: LIMIT.to_owned(), cap: Some(1) };
    act(&mut world, set(key, vec![cap(LIMIT, 0)]));
    act(&mut world, put);
    assert_eq!(try_call(&mut world, key, app).unwrap_err().0.rule, Rule::Limit);
    let refusals = world.rows.iter().filter(|row| row.kind == Kind::CallRefused);
    let rules: Vec<Rule> = refusals
        .map(|row| match row.entry().unwrap().body {
            Body::CallRefused(x) => x.rule,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rules, [Rule::Own, Rule::Limit]);
}

#[test]
fn a_check_shows_the_keys_own_rule_beside_the_limit() {
    let (mut world, [app, _]) = world();
    let key = key(&mut world, 1, vec![cap(LIMIT, 2)]);
    spend(&mut world, key, app);
    let Reply::Checked { would, readings, .. } = act(&mut world, Command::Check(admit(key, app, "user/get")))
    else {
        panic!()
    };
    assert!(matches!(*would, Reply::Refused(Refusal::Limit { .. })));
    let of_limit = readings.iter().filter(|reading| &*reading.limit == LIMIT);
    let shown: Vec<_> = of_limit.map(|reading| (reading.rule, reading.used, reading.cap)).collect();
    assert_eq!(shown, [(Rule::Limit, 2, 1000), (Rule::Own, 2, 2)]);
}
