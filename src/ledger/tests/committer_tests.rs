//! The real committer on a healthy log: batches, several processes, shutdown, bounds.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::ledger::command::{
    Admit, ApiKeyTerms, Caller, Command, FetchReason, InLine, Outcome, Refusal, Reply, Unauthorized,
};
use crate::ledger::committer::{self, Registration};
use crate::ledger::entry::{AnswerNotes, Body, Scope, Seq};
use crate::ledger::{Kind, LedgerError, LedgerHandle, Row};
use crate::vault::Vault;

use super::machine::TestClock;
use super::memory::{Disk, MemoryLog, Plan};
use super::{fold, plain};

/// One process with its committer.
pub(super) struct Served {
    pub(super) ledger: LedgerHandle,
    pub(super) plan: Plan,
}

/// A ledger with one app and one key, which has the given cap per minute.
pub(super) struct Fixture {
    pub(super) disk: Disk,
    pub(super) clock: TestClock,
    pub(super) app: Seq,
    pub(super) key: Seq,
}

pub(super) async fn serve(disk: &Disk, clock: &TestClock, owner: u32) -> Served {
    let log = MemoryLog::new(disk, owner);
    let plan = log.plan.clone();
    let vault = Arc::new(Vault::from_master(&[7; 32]).unwrap());
    let (instance, egress_ip) = (format!("i{owner}"), "192.0.2.1".to_owned());
    let registration = Registration { instance, egress_ip, learn_caps_after: None, webhook: false };
    let registration = (owner > 0).then_some(registration);
    let ledger = committer::start(log, vault, Arc::new(clock.clone()), registration, None).await.unwrap();
    Served { ledger, plan }
}

fn done(reply: Result<Reply, LedgerError>) -> Seq {
    match reply.unwrap() {
        Reply::Done { seq, changed: true } => seq,
        other => panic!("{other:?}"),
    }
}

impl Fixture {
    pub(super) async fn new(cap: u64) -> Self {
        let (disk, clock) = (Disk::default(), TestClock::new());
        let cli = serve(&disk, &clock, 0).await.ledger;
        let (corp_id, agent_id) = ("corp".to_owned(), "1000002".to_owned());
        let commands = [
            Command::CreateLedger {
                ledger_id: "test".to_owned(),
                version: "1".to_owned(),
                key_check: [1; 32],
            },
            Command::PutCorp { corp_id: corp_id.clone(), account_cap: 10 },
            Command::PutCap { corp_id: corp_id.clone(), limit: "corp-api-minute".to_owned(), cap: Some(cap) },
        ];
        for command in commands {
            done(cli.decide(command).await);
        }
        let secret = plain("secret");
        let app = done(cli.decide(Command::PutApp { corp_id, agent_id, secret, fingerprint: [1; 32] }).await);
        let (name, scopes) = ("key".to_owned(), vec![Scope::Call]);
        let apis = vec!["message/*".to_owned()];
        let terms = ApiKeyTerms { name, scopes, apis, ..ApiKeyTerms::default() };
        let create = Command::CreateApiKey { terms, fingerprint: [2; 32] };
        let key = done(cli.decide(create).await);
        cli.stop().await;
        Self { disk, clock, app, key }
    }

    pub(super) async fn serve(&self, owner: u32) -> Served {
        serve(&self.disk, &self.clock, owner).await
    }

    pub(super) fn admit(&self, api: &str) -> Command {
        Command::Admit(Admit {
            caller: Caller::Key(self.key),
            app: self.app,
            api: api.to_owned(),
            method: "POST".to_owned(),
            ask: crate::ledger::command::Ask::default(),
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: 10_000,
            request_bytes: 0,
            request_sha256: None,
            once: None,
            line: InLine::default(),
        })
    }

    pub(super) fn kinds(&self, kind: Kind) -> Vec<Row> {
        self.disk.rows().into_iter().filter(|row| row.kind == kind).collect()
    }

    pub(super) fn refusals(&self, of: &str) -> Vec<u64> {
        let bodies = self.disk.rows().into_iter().map(|row| row.entry().unwrap().body);
        bodies
            .filter_map(|body| if let Body::CallRefused(x) = body { Some(x) } else { None })
            .filter(|x| x.limit == of)
            .map(|x| x.count)
            .collect()
    }
}

pub(super) fn posted(pending: Seq) -> Command {
    let outcome = Outcome::Posted {
        not_sent: crate::ledger::command::NotSent::default(),
        unreached: crate::ledger::command::NotSent::default(),
        errcode: Some(0),
        http_status: 200,
        latency_us: 5,
        response_bytes: 2,
        answer: AnswerNotes::default(),
    };
    Command::Settle { pending, outcome, caller: None }
}

/// Time for the committer's housekeeping, which looks at the machine's own clock.
pub(super) async fn housekeeping() {
    tokio::time::sleep(Duration::from_millis(700)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_committers_on_one_log_stay_dense_and_exact() {
    let fixture = Arc::new(Fixture::new(5).await);
    let (one, two) = (fixture.serve(1).await, fixture.serve(2).await);
    let tasks: Vec<_> = (0..40)
        .map(|i| {
            let ledger = if i % 2 == 0 { one.ledger.clone() } else { two.ledger.clone() };
            let command = fixture.admit("message/send");
            tokio::spawn(async move { ledger.decide(command).await.unwrap() })
        })
        .collect();
    let mut admitted = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Reply::Admitted { pending, .. } => admitted.push(pending),
            Reply::Refused(Refusal::Limit { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted.len(), 5);
    for served in [&one, &two] {
        served.ledger.decide(posted(admitted.pop().unwrap())).await.unwrap();
    }
    fixture.clock.advance(1_000);
    let live = one.ledger.read(|state, _| state.clone()).await.unwrap();
    one.ledger.stop().await;
    two.ledger.stop().await;
    let rows = fixture.disk.rows();
    assert!(rows.iter().zip(1..).all(|(row, seq)| row.seq == seq));
    assert_eq!(fold(&rows[..live.head as usize]), live);
    assert_eq!(fixture.refusals("corp-api-minute").iter().sum::<u64>(), 35);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_one_second_are_one_entry_and_a_count() {
    let fixture = Fixture::new(0).await;
    let served = fixture.serve(1).await;
    let ledger = &served.ledger;
    for _ in 0..7 {
        let reply = ledger.decide(fixture.admit("message/send")).await.unwrap();
        assert!(matches!(reply, Reply::Refused(Refusal::Limit { .. })));
        let reply = ledger.decide(fixture.admit("user/delete")).await.unwrap();
        assert_eq!(reply, Reply::Refused(Refusal::Unauthorized(Unauthorized::NotAllowed)));
    }
    assert_eq!((fixture.refusals("corp-api-minute"), fixture.refusals("not_allowed")), (vec![1], vec![1]));
    fixture.clock.advance(1_000);
    housekeeping().await;
    assert_eq!(
        (fixture.refusals("corp-api-minute"), fixture.refusals("not_allowed")),
        (vec![1, 6], vec![1, 6])
    );
    let errcodes: Vec<_> = fixture.kinds(Kind::CallRefused).into_iter().map(|row| row.errcode).collect();
    assert_eq!(errcodes.iter().filter(|code| **code == Some(48002)).count(), 2);
    fixture.clock.advance(1_000);
    ledger.decide(fixture.admit("message/send")).await.unwrap();
    assert_eq!(fixture.refusals("corp-api-minute"), [1, 6, 1], "another second, another entry");
    ledger.decide(fixture.admit("message/send")).await.unwrap();
    served.ledger.stop().await;
    assert_eq!(
        fixture.refusals("corp-api-minute").iter().sum::<u64>(),
        9,
        "what is left is written at the end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_says_goodbye_and_settles_what_it_left() {
    let fixture = Fixture::new(300).await;
    let served = fixture.serve(1).await;
    for _ in 0..260 {
        served.ledger.decide(fixture.admit("message/send")).await.unwrap();
    }
    served.ledger.stop().await;
    assert_eq!(fixture.kinds(Kind::CallExpired).len(), 260);
    let last = fixture.disk.rows().pop().unwrap();
    assert!(matches!(last.entry().unwrap().body, Body::ProcessEnded(x) if x.how == "drained"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_left_expires_at_once_and_blames_nobody() {
    let fixture = Fixture::new(10).await;
    let (one, two) = (fixture.serve(1).await, fixture.serve(2).await);
    one.ledger.decide(fixture.admit("message/send")).await.unwrap();
    let fetch = Command::BeginFetch { app: fixture.app, why: FetchReason::Demand, timeout_ms: 10_000 };
    assert!(matches!(one.ledger.decide(fetch.clone()).await, Ok(Reply::Fetch { .. })));
    assert_eq!(two.ledger.decide(fetch.clone()).await, Ok(Reply::Wait));
    fixture.disk.kill("i1");
    housekeeping().await;
    assert_eq!(fixture.kinds(Kind::CallExpired).len(), 1);
    assert_eq!(fixture.kinds(Kind::ProcessEnded).len(), 1);
    assert!(matches!(two.ledger.decide(fetch).await, Ok(Reply::Fetch { .. })), "no back-off");
    two.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_that_it_is_busy_but_to_the_end_of_a_call() {
    let fixture = Arc::new(Fixture::new(5_000).await);
    let served = fixture.serve(1).await;
    let Reply::Admitted { pending, .. } = served.ledger.decide(fixture.admit("message/send")).await.unwrap()
    else {
        panic!()
    };
    fixture.disk.hold(true);
    let first = served.ledger.clone();
    let command = fixture.admit("message/send");
    let held = tokio::spawn(async move { first.decide(command).await });
    let disk = fixture.disk.clone();
    let before = fixture.disk.appends();
    tokio::task::spawn_blocking(move || disk.wait_for_append(before.max(1))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut waiting = Vec::new();
    let mut busy = 0;
    for _ in 0..4_200 {
        let mut asked = Box::pin(served.ledger.decide(fixture.admit("message/send")));
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                assert_eq!(answer, Err(LedgerError::Busy));
                busy += 1;
            }
            Poll::Pending => waiting.push(asked),
        }
    }
    assert_eq!((waiting.len(), busy), (4_096, 104));
    let outcome = super::penalty_tests::posted(Some(0));
    let ended = Command::SettleTaught { pending, outcome, taught: None };
    let mut ended = Box::pin(served.ledger.decide(ended));
    assert!(ended.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    fixture.disk.hold(false);
    assert!(matches!(ended.await, Ok(Reply::Settled { .. })));
    for asked in waiting {
        asked.await.unwrap();
    }
    held.await.unwrap().unwrap();
    served.ledger.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_uses_the_snapshot_only_if_it_fits() {
    let fixture = Fixture::new(10).await;
    let served = fixture.serve(1).await;
    served.ledger.decide(fixture.admit("message/send")).await.unwrap();
    served.ledger.stop().await;
    assert!(fixture.disk.has_snapshot());
    for owner in 2..5 {
        let served = fixture.serve(owner).await;
        let live = served.ledger.read(|state, _| state.clone()).await.unwrap();
        assert_eq!(live, fold(&fixture.disk.rows()));
        served.ledger.stop().await;
        // First another version of the fold, then a digest of another last entry.
        fixture.disk.corrupt_snapshot(owner as usize - 2);
    }
}
