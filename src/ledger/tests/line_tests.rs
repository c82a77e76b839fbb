//! What the line before a limit asks of the core, and what it is told.

use std::sync::Arc;

use crate::ledger::command::{
    Admit, Command, Hit, InLine, Outcome, Reach, Refusal, Reply, Standing, Unauthorized,
};
use crate::quota::{Dimension, Reading, Rule, Scope, Unit, Window};

use super::committer_tests::{Fixture, posted};

const LIMIT: &str = "corp-api-minute";

fn admit(fixture: &Fixture, line: InLine) -> Command {
    let Command::Admit(admit) = fixture.admit("message/send") else { panic!() };
    Command::Admit(Admit { line, ..admit })
}

fn standing() -> Standing {
    let reading = Reading {
        limit: Arc::from(LIMIT),
        cap: 5,
        used: 5,
        in_flight: 0,
        remaining: 0,
        window: Window::Sliding { ms: 60_000 },
        resets_at: Some(1_000),
        rule: Rule::Limit,
        unit: Unit::Calls,
    };
    Standing { hit: Hit::Limit(reading), retry_at: Some(900), needed: 1, reach: Reach::Everybody }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_refused_without_a_record() {
    let fixture = Fixture::new(0).await;
    let served = fixture.serve(1).await;
    let waits = InLine { waits: true, ..InLine::default() };
    for _ in 0..3 {
        let reply = served.ledger.decide(admit(&fixture, waits.clone())).await.unwrap();
        assert!(matches!(reply, Reply::Refused(Refusal::Limit { reach: Reach::Everybody, .. })), "{reply:?}");
    }
    served.ledger.decide(admit(&fixture, InLine::default())).await.unwrap();
    served.ledger.stop().await;
    assert_eq!(fixture.refusals(LIMIT), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stands_behind_others_is_refused_like_them_whatever_room_there_is() {
    let fixture = Fixture::new(5).await;
    let served = fixture.serve(1).await;
    let behind = InLine { standing: Some(Box::new(standing())), ..InLine::default() };
    for _ in 0..3 {
        let reply = served.ledger.decide(admit(&fixture, behind.clone())).await.unwrap();
        let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
        assert_eq!(refusal.standing(), Some(standing()));
    }
    // Whether it may make this call at all comes first.
    let Command::Admit(admit) = admit(&fixture, behind) else { panic!() };
    let reply = served.ledger.decide(Command::Admit(Admit { api: "user/get".to_owned(), ..admit })).await;
    assert_eq!(reply, Ok(Reply::Refused(Refusal::Unauthorized(Unauthorized::NotAllowed))));
    served.ledger.stop().await;
    assert_eq!(fixture.refusals(LIMIT), [1, 2], "counted like any refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_can_make_room_is_told_and_nothing_else_is() {
    let fixture = Fixture::new(5).await;
    let served = fixture.serve(1).await;
    let mut room = served.ledger.room();
    room.mark_unchanged();
    let pending = async || match served.ledger.decide(fixture.admit("message/send")).await {
        Ok(Reply::Admitted { pending, .. }) => pending,
        other => panic!("{other:?}"),
    };
    let (one, two) = (pending().await, pending().await);
    served.ledger.decide(posted(one)).await.unwrap();
    assert!(!room.has_changed().unwrap());
    let outcome = Outcome::Voided { reason: "not sent".to_owned() };
    served.ledger.decide(Command::Settle { pending: two, outcome, caller: None }).await.unwrap();
    assert!(room.has_changed().unwrap());
    room.mark_unchanged();
    let cap = Command::PutCap { corp_id: "corp".to_owned(), limit: LIMIT.to_owned(), cap: Some(6) };
    served.ledger.decide(cap).await.unwrap();
    assert!(room.has_changed().unwrap());
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_another_process_makes_is_told_as_well() {
    let fixture = Fixture::new(5).await;
    let (one, two) = (fixture.serve(1).await, fixture.serve(2).await);
    let mut room = one.ledger.room();
    one.ledger.refresh().await.unwrap();
    room.mark_unchanged();
    let cap = Command::PutCap { corp_id: "corp".to_owned(), limit: LIMIT.to_owned(), cap: Some(6) };
    two.ledger.decide(cap).await.unwrap();
    // Nobody asks it anything: it looks by itself.
    tokio::time::timeout(std::time::Duration::from_secs(20), room.changed()).await.unwrap().unwrap();
    one.ledger.stop().await;
    two.ledger.stop().await;
}

#[test]
fn a_limit_concerns_whoever_shares_its_counter() {
    use Dimension::{Api, ApiKey, App, Corp, EgressIp};
    let reach = |dimensions: &[Dimension]| Reach::of(Scope::of(dimensions));
    assert_eq!(reach(&[]), Reach::Everybody);
    assert_eq!(reach(&[Corp, Api]), Reach::Everybody);
    assert_eq!(reach(&[EgressIp, Api]), Reach::Everybody);
    assert_eq!(reach(&[Corp, Api, ApiKey]), Reach::Caller);
    assert_eq!(reach(&[Corp, App]), Reach::Call);
}
