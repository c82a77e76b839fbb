//! How often the ledger is asked, and what becomes of its answers.

use super::fake::{APP, fake};
use super::*;
use crate::ledger::command::Refusal;

#[tokio::test(start_paused = true)]
async fn a_line_asks_when_it_was_told_to_and_no_sooner() {
    let (fake, admission) = fake();
    let asked: Vec<_> = (0..100).map(|id| ask(&admission, call(APP, 11 + id % 3, id), 60)).collect();
    a_moment().await;
    let before = fake.inside().asks;
    // Refused again after 10, 20, … 50 s: a window that does not do what it said.
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(fake.inside().asks - before, 5);
    drop(asked);
}

#[tokio::test(start_paused = true)]
async fn a_line_never_spins() {
    let (fake, admission) = fake();
    fake.inside().retry_in = Some(0);
    let asked = ask(&admission, call(APP, 11, 1), 60);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fake.inside().asks <= 51, "{}", fake.inside().asks);
    fake.inside().retry_in = Some(600_000);
    // Nor when room is said to be there all the time.
    let before = fake.inside().asks;
    for _ in 0..10_000 {
        fake.say_room();
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fake.inside().asks - before <= 3, "{}", fake.inside().asks - before);
    asked.abort();
}

#[tokio::test(start_paused = true)]
async fn room_that_is_made_while_a_call_is_refused_is_not_missed() {
    let (fake, admission) = fake();
    fake.inside().late = 1;
    let begun = Instant::now();
    assert!(is_admitted(&answer(ask(&admission, call(APP, 11, 1), 60)).await));
    assert!(ms_since(begun) < 100, "{} ms", ms_since(begun));
    // The same in a line that is there.
    let first = ask(&admission, call(APP, 11, 2), 60);
    a_moment().await;
    let begun = Instant::now();
    fake.inside().late = 1;
    fake.say_room();
    assert!(is_admitted(&answer(first).await));
    assert!(ms_since(begun) < 100, "{} ms", ms_since(begun));
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_nobody_waits_for_any_more_is_given_up() {
    let (fake, admission) = fake();
    let asked = ask(&admission, call(APP, 11, 1), 60);
    a_moment().await;
    fake.hold(true);
    fake.give(1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fake.inside().admitted, [1], "but the answer is still on its way");
    asked.abort();
    a_moment().await;
    fake.hold(false);
    a_moment().await;
    assert_eq!(fake.inside().abandoned, [1]);
}

#[tokio::test(start_paused = true)]
async fn whose_time_is_up_while_the_ledger_decides_gets_what_it_decides() {
    for room in [true, false] {
        let (fake, admission) = fake();
        let asked = ask(&admission, call(APP, 11, 1), 5);
        a_moment().await;
        fake.hold(true);
        if room {
            fake.give(1);
        } else {
            fake.say_room();
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        fake.hold(false);
        let answer = answer(asked).await;
        assert_eq!(is_admitted(&answer), room);
        assert_eq!(fake.inside().refused.len(), usize::from(!room), "on record, once");
        assert_eq!((admission.waiting(), fake.inside().abandoned.len()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_window_will_ever_make_room_nobody_waits() {
    let (fake, admission) = fake();
    let waiting = ask(&admission, call(APP, 11, 1), 60);
    a_moment().await;
    fake.inside().retry_in = None;
    let begun = Instant::now();
    // At its turn as well.
    fake.say_room();
    let refused = answer(waiting).await;
    assert_eq!(refused.note().as_deref(), Some("waiting would not help"));
    let refused = answer(ask(&admission, call(APP, 11, 2), 60)).await;
    assert_eq!(refused.applied(), None);
    assert!(ms_since(begun) < 100);
    assert_eq!(fake.inside().refused, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_the_ledger_costs_nobody_their_place() {
    let (fake, admission) = fake();
    let asked = [ask(&admission, call(APP, 11, 1), 60), ask(&admission, call(APP, 12, 2), 60)];
    a_moment().await;
    fake.inside().busy = 3;
    fake.give(2);
    for asked in asked {
        assert!(is_admitted(&answer(asked).await));
    }
    assert_eq!(fake.inside().admitted, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_to_fetch_its_token_comes_back_to_its_place() {
    let (fake, admission) = fake();
    let ticket = admission.ticket(Wait::of_secs(60));
    let again = || admission.ask(Command::Admit, call(APP, 11, 1), &ticket, std::future::pending());
    fake.inside().without_credential.insert(1);
    assert_eq!(again().await.unwrap().reply, Reply::Refused(Refusal::NoCredential));
    let others = [ask(&admission, call(APP, 11, 2), 60), ask(&admission, call(APP, 12, 3), 60)];
    a_moment().await;
    let make_room = async {
        a_moment().await;
        fake.give(3);
    };
    let (answered, ()) = tokio::join!(again(), make_room);
    assert!(is_admitted(&answered.unwrap()));
    for other in others {
        assert!(is_admitted(&answer(other).await));
    }
    assert_eq!(fake.inside().admitted, [1, 3, 2], "first among the calls of its key");
}

/// The ledger's time may jump while ours does not: the machine has slept.
#[tokio::test(start_paused = true)]
async fn a_line_follows_the_ledgers_time() {
    let (fake, admission) = fake();
    let asked = ask(&admission, call(APP, 11, 1), 60);
    a_moment().await;
    fake.inside().places = 1;
    fake.jump(10_000);
    let begun = Instant::now();
    assert!(is_admitted(&answer(asked).await));
    assert!(ms_since(begun) <= 1_000, "{} ms", ms_since(begun));
}
