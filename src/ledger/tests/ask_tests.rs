//! Calls that say how many they reach, and not whom.

use crate::ledger::command::{Admit, Ask, Caller, Command, InLine, Reply, To};
use crate::ledger::entry::Seq;
use crate::quota::{Operator, Profile};

use super::rule_tests::{act, world};
use super::world::World;

fn reserve(world: &World, app: Seq, api: &str, to: To) -> Command {
    Command::Reserve(Admit {
        caller: Caller::Secret(world.naive.tokens.apps[&app].secret),
        app,
        api: api.to_owned(),
        method: "POST".to_owned(),
        ask: Ask { to, ..Ask::default() },
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 60_000,
        request_bytes: 0,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    })
}

/// Of so many calls, those that are admitted.
fn admitted(world: &mut World, app: Seq, api: &str, to: &To, calls: usize) -> usize {
    let admitted = |world: &mut World| {
        let reserve = reserve(world, app, api, to.clone());
        matches!(act(world, reserve), Reply::Admitted { .. })
    };
    (0..calls).filter(|_| admitted(world)).count()
}

fn use_profile(world: &mut World, profile: &str, own: Option<Profile>) {
    let own = own.map(Box::new);
    act(world, Command::PutLimits { profile: profile.to_owned(), operator: Operator::Corp, own });
}

#[test]
fn a_message_to_so_many_may_reach_the_same_member_each_time() {
    let (mut world, [app, other]) = world();
    use_profile(&mut world, "wecom-2023", None);
    assert_eq!(admitted(&mut world, app, "message/send", &To::Count(1), 40), 30, "a minute to one member");
    let one = To::Members { users: vec![7], others: 0, parties: vec![], tags: vec![], unreadable: 0 };
    assert_eq!(admitted(&mut world, app, "message/send", &one, 1), 0);
    assert_eq!(admitted(&mut world, other, "message/send", &one, 1), 1, "another app counts apart");
}

#[test]
fn a_message_without_recipients_reaches_nobody() {
    let (mut world, [app, _]) = world();
    use_profile(&mut world, "wecom-2023", None);
    assert_eq!(admitted(&mut world, app, "message/send", &To::Nobody, 40), 40);
}

#[test]
fn an_api_whose_recipients_nobody_knows_to_read_may_reach_the_same_member_each_time() {
    let (mut world, [app, _]) = world();
    let own = r#"
name = "mine"

[[limit]]
name = "per-member"
apis = ["some/message"]
scope = ["corp", "member"]
unit = "calls"
window = "60s"
cap = 3
source = "a test"
"#;
    use_profile(&mut world, "mine", Some(Profile::from_toml(own).unwrap()));
    assert_eq!(admitted(&mut world, app, "some/message", &To::Nobody, 5), 3);
}
