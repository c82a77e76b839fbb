//! The real committer while writes fail, processes die and clients go away.

use std::collections::BTreeSet;
use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;

use crate::ledger::command::{Command, Refusal, Reply};
use crate::ledger::entry::Seq;
use crate::ledger::{Kind, LedgerError};

use super::committer_tests::{Fixture, housekeeping, posted, serve};
use super::machine::TestClock;
use super::memory::{Disk, Fault};
use super::{config, fold};

/// Asks again until the ledger can be written.
async fn insist(fixture: &Fixture, ledger: &crate::ledger::LedgerHandle) -> Option<Seq> {
    for _ in 0..100 {
        match ledger.decide(fixture.admit("message/send")).await {
            Ok(Reply::Admitted { pending, .. }) => return Some(pending),
            Ok(Reply::Refused(Refusal::Limit { .. })) => return None,
            Err(LedgerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("the ledger did not recover");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_refused_and_recovered_from_on_record() {
    let fixture = Fixture::new(100).await;
    let served = fixture.serve(1).await;
    let rows = fixture.disk.rows().len();
    served.plan.then([Fault::BeforeWrite, Fault::BeforeWrite]);
    served.plan.fail_reopen(2);
    let refused = served.ledger.decide(fixture.admit("message/send")).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))));
    assert!(served.ledger.failure().is_some());
    assert_eq!(fixture.disk.rows().len(), rows, "nothing of it was written");
    insist(&fixture, &served.ledger).await.unwrap();
    assert_eq!(fixture.kinds(Kind::StoreRecovered).len(), 1);
    assert_eq!(served.ledger.failure(), None);
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_that_nobody_was_told_of_expires_as_spent() {
    let fixture = Fixture::new(100).await;
    let served = fixture.serve(1).await;
    let answered = insist(&fixture, &served.ledger).await.unwrap();
    served.plan.then([Fault::AfterWrite]);
    served.plan.fail_reopen(1);
    assert!(served.ledger.decide(fixture.admit("message/send")).await.is_err());
    housekeeping().await;
    let expired = fixture.kinds(Kind::CallExpired);
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].pending_seq, Some(fixture.kinds(Kind::CallPending)[1].seq));
    assert!(served.ledger.decide(posted(answered)).await.is_ok(), "what was acknowledged lives on");
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_could_not_be_written_expires_once_when_writing_works_again() {
    let fixture = Fixture::new(100).await;
    let served = fixture.serve(1).await;
    let pending = insist(&fixture, &served.ledger).await.unwrap();
    served.plan.then([Fault::BeforeWrite; 3]);
    assert!(served.ledger.decide(posted(pending)).await.is_err());
    served.ledger.abandon(pending);
    served.ledger.abandon(pending);
    // Longer than the failures last, shorter than the call's own timeout.
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    assert_eq!(fixture.kinds(Kind::CallExpired).len(), 1);
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_before_the_answer_leaves_no_pending() {
    let fixture = Fixture::new(100).await;
    let served = fixture.serve(1).await;
    for gone_late in [false, true] {
        fixture.disk.hold(true);
        let mut asked = Box::pin(served.ledger.decide(fixture.admit("message/send")));
        assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let before = fixture.kinds(Kind::CallPending).len();
        if gone_late {
            // The answer is on its way, but is never picked up.
            fixture.disk.hold(false);
            while fixture.kinds(Kind::CallPending).len() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(asked);
        } else {
            drop(asked);
            fixture.disk.hold(false);
        }
        housekeeping().await;
        let expired = fixture.kinds(Kind::CallExpired).len();
        assert_eq!(expired, fixture.kinds(Kind::CallPending).len(), "gone late: {gone_late}");
    }
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counted_refusals_survive_a_failed_write() {
    let fixture = Fixture::new(0).await;
    let served = fixture.serve(1).await;
    for _ in 0..5 {
        served.ledger.decide(fixture.admit("message/send")).await.unwrap();
    }
    served.plan.then([Fault::BeforeWrite, Fault::BeforeWrite]);
    fixture.clock.advance(1_500);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(fixture.refusals("corp-api-minute"), [1, 4]);
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_creation_failed_can_still_be_created() {
    let (disk, clock) = (Disk::default(), TestClock::new());
    let cli = serve(&disk, &clock, 0).await;
    cli.plan.then([Fault::BeforeWrite]);
    let create =
        Command::CreateLedger { ledger_id: "test".to_owned(), version: "1".to_owned(), key_check: [1; 32] };
    assert!(cli.ledger.decide(create.clone()).await.is_err());
    housekeeping().await;
    assert_eq!(cli.ledger.decide(create).await, Ok(Reply::Done { seq: 1, changed: true }));
    assert_eq!(disk.rows()[0].kind, Kind::LedgerCreated);
    cli.ledger.stop().await;
}

/// Two processes with random failures. What was acknowledged is there; what was not is there whole or not at all.
async fn storm(faults: [Vec<Fault>; 2], reopen: u32) {
    let fixture = Arc::new(Fixture::new(26).await);
    let mut tasks = Vec::new();
    let mut served = Vec::new();
    for (owner, faults) in (1..).zip(faults) {
        let one = fixture.serve(owner).await;
        one.plan.then(faults);
        one.plan.fail_reopen(reopen);
        for i in 0..12 {
            let (ledger, fixture) = (one.ledger.clone(), Arc::clone(&fixture));
            tasks.push(tokio::spawn(async move {
                let pending = insist(&fixture, &ledger).await?;
                if i % 3 == 0 {
                    return Some((pending, None));
                }
                let Ok(Reply::Settled { seq }) = ledger.decide(posted(pending)).await else {
                    ledger.abandon(pending);
                    return Some((pending, None));
                };
                Some((pending, Some(seq)))
            }));
        }
        served.push(one);
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    for one in served {
        one.ledger.stop().await;
    }
    check_storm(&fixture, &acknowledged);
}

fn check_storm(fixture: &Fixture, acknowledged: &[(Seq, Option<Seq>)]) {
    let rows = fixture.disk.rows();
    assert!(rows.iter().zip(1..).all(|(row, seq)| row.seq == seq), "dense");
    for (pending, posted) in acknowledged {
        assert_eq!(rows[*pending as usize - 1].kind, Kind::CallPending);
        if let Some(posted) = posted {
            let row = &rows[*posted as usize - 1];
            assert_eq!((row.kind, row.pending_seq), (Kind::CallPosted, Some(*pending)));
        }
    }
    let ends = rows.iter().filter(|row| matches!(row.kind, Kind::CallPosted | Kind::CallExpired));
    let ends: Vec<Seq> = ends.filter_map(|row| row.pending_seq).collect();
    let distinct: BTreeSet<Seq> = ends.iter().copied().collect();
    assert_eq!(ends.len(), distinct.len(), "every pending ends once");
    assert!(fixture.kinds(Kind::CallPending).len() <= 26, "exact in spite of everything");
    for (named, next) in rows.iter().zip(&rows[1..]).filter(|(row, _)| row.kind == Kind::ApiNamed) {
        assert_eq!(next.api, Some(named.seq), "no half of a command");
    }
    let state = fold(&rows);
    assert_eq!(state.deadlines.len(), state.pendings.len());
    assert!(state.pendings.keys().all(|pending| !distinct.contains(pending)));
}

proptest! {
    #![proptest_config(config(8))]

    #[test]
    fn acknowledged_entries_survive_a_storm_of_failures(
        faults in proptest::array::uniform2(proptest::collection::vec(
            prop_oneof![3 => Just(Fault::None), 1 => Just(Fault::BeforeWrite), 1 => Just(Fault::AfterWrite)],
            0..6,
        )),
        reopen in 0..2_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(storm(faults, reopen));
    }
}
