//! Calls that need different amounts of a limit.

use super::core::{self, Core, core};
use super::*;
use crate::ledger::command::{ApiKeyChange, ApiKeyEdit, OwnChange, OwnNumber, Refusal, To};
use crate::ledger::entry::Priority;
use crate::quota::Operator;

const DAY: &str = "messages-corp-day";

fn message(core: &Core, key: Seq, id: u64, people: u64) -> Admit {
    Admit { ask: Ask { to: To::Count(people), ..Ask::default() }, ..call(core.app, key, id) }
}

fn cap(core: &Core, limit: &str, cap: u64) {
    let (corp_id, limit) = ("corp".to_owned(), limit.to_owned());
    core.act(Command::PutCap { corp_id, limit, cap: Some(cap) });
}

fn pending(answer: &Answer) -> Seq {
    match answer.reply {
        Reply::Admitted { pending, .. } => pending,
        ref other => panic!("{other:?}"),
    }
}

fn retry_at(answer: &Answer) -> i64 {
    match answer.reply {
        Reply::Refused(Refusal::Limit { retry_at: Some(retry_at), .. }) => retry_at,
        ref other => panic!("{other:?}"),
    }
}

/// Resolves when so many calls wait.
async fn joined(admission: &Admission<Arc<Core>>, count: usize) {
    while admission.waiting() != count {
        a_moment().await;
    }
}

/// 500 of 600 person-times of the day are under way.
async fn nearly_full() -> (Arc<Core>, Arc<Admission<Arc<Core>>>, Seq, Seq) {
    let (core, admission) = core(10_000);
    cap(&core, DAY, 600);
    let key = core.key(1, Priority::Normal);
    let first = pending(&answer(ask(&admission, message(&core, key, 1, 500), 0)).await);
    (core, admission, key, first)
}

#[tokio::test(start_paused = true)]
async fn a_large_call_whose_time_is_too_short_for_its_room_holds_no_small_one_up() {
    let (core, admission, key, _) = nearly_full().await;
    let other = core.key(2, Priority::Normal);
    let large = ask(&admission, message(&core, key, 2, 200), 8);
    joined(&admission, 1).await;
    for (number, key, wait_secs) in [(3, key, 0), (4, key, 5), (5, other, 0), (6, other, 5)] {
        let begun = Instant::now();
        assert!(is_admitted(&answer(ask(&admission, message(&core, key, number, 1), wait_secs)).await));
        assert!(ms_since(begun) < 10, "call {number}: {} ms", ms_since(begun));
    }
    let large = answer(large).await;
    assert_eq!(large.applied(), Wait::of_secs(8));
    assert!(retry_at(&large) > 3_600_000, "it is told when its own room comes");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_unforeseen_is_still_for_the_large_call_that_waits() {
    let (core, admission, key, first) = nearly_full().await;
    let large = ask(&admission, message(&core, key, 2, 200), 60);
    joined(&admission, 1).await;
    assert!(is_admitted(&answer(ask(&admission, message(&core, key, 3, 100), 0)).await));
    tokio::time::sleep(Duration::from_secs(7)).await;
    let begun = Instant::now();
    core.voided(first);
    assert!(is_admitted(&answer(large).await));
    assert!(ms_since(begun) < 50, "{} ms", ms_since(begun));
}

#[tokio::test(start_paused = true)]
async fn those_who_need_as_much_are_not_asked_for_one_by_one() {
    let (core, admission, key, _) = nearly_full().await;
    let asked: Vec<_> = (0..200).map(|id| ask(&admission, message(&core, key, id, 200), 60)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = core.inside().asks;
    let small = pending(&answer(ask(&admission, message(&core, key, 900, 50), 0)).await);
    core.voided(small);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asks = core.inside().asks - before;
    assert!(asks < 10, "{asks} asks, since too little was given back for any of 200");
    asked.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn room_that_comes_in_time_is_kept_for_the_large_call_and_no_longer_than_it_waits() {
    let (core, admission) = core(10_000);
    let (profile, operator, own) = ("wecom-2020".to_owned(), Operator::Corp, None);
    core.act(Command::PutLimits { profile, operator, own });
    cap(&core, "appchat-send-minute", 600);
    let key = core.key(1, Priority::Normal);
    let chat = |id, people| Admit { api: "appchat/send".to_owned(), ..message(&core, key, id, people) };
    for id in [1, 2] {
        core.posted(pending(&answer(ask(&admission, chat(id, 250), 0)).await));
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let large = ask(&admission, chat(3, 200), 60);
    joined(&admission, 1).await;
    // Else small ones would take what is left for as long as they come.
    let small = answer(ask(&admission, chat(4, 1), 0)).await;
    assert!((60_000..61_000).contains(&retry_at(&small)), "{}", retry_at(&small));
    let behind = ask(&admission, chat(5, 1), 60);
    joined(&admission, 2).await;
    large.abort();
    let begun = Instant::now();
    assert!(is_admitted(&answer(behind).await));
    assert!(ms_since(begun) < 50, "{} ms", ms_since(begun));
    let large = answer(ask(&admission, chat(6, 200), 60)).await;
    assert!(is_admitted(&large));
    let (tick, ..) = core.admitted()[3];
    assert!((60_000..61_000).contains(&tick), "{tick}");
}

/// 300 of 600 person-times were spent at first, 200 more ten seconds later.
async fn spent_twice() -> (Arc<Core>, Arc<Admission<Arc<Core>>>, impl Fn(u64, u64) -> Admit) {
    let (core, admission) = core(10_000);
    let (profile, operator, own) = ("wecom-2020".to_owned(), Operator::Corp, None);
    core.act(Command::PutLimits { profile, operator, own });
    cap(&core, "appchat-send-minute", 600);
    let key = core.key(1, Priority::Normal);
    let app = core.app;
    let chat = move |id, people| {
        let ask = Ask { to: To::Count(people), ..Ask::default() };
        Admit { api: "appchat/send".to_owned(), ask, ..call(app, key, id) }
    };
    core.posted(pending(&answer(ask(&admission, chat(1, 300), 0)).await));
    tokio::time::sleep(Duration::from_secs(10)).await;
    core.posted(pending(&answer(ask(&admission, chat(2, 200), 0)).await));
    (core, admission, chat)
}

fn told(answer: &Answer) -> (u64, u64, u64) {
    match &answer.reply {
        Reply::Refused(Refusal::Limit { reading, needed, .. }) => (reading.used, reading.remaining, *needed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_call_behind_a_large_one_is_told_when_it_passes_after_that() {
    let (core, admission, chat) = spent_twice().await;
    let large = ask(&admission, chat(3, 350), 60);
    joined(&admission, 1).await;
    let small = answer(ask(&admission, chat(4, 150), 0)).await;
    assert_eq!(told(&small), (600, 0, 150), "the rest is spoken for");
    let small_at = retry_at(&small);
    assert!((70_000..71_300).contains(&small_at), "{small_at}");
    let tiny = answer(ask(&admission, chat(5, 50), 0)).await;
    assert!((60_000..61_300).contains(&retry_at(&tiny)), "it passes with the large one: {}", retry_at(&tiny));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let behind = ask(&admission, chat(6, 150), 60);
    core.posted(pending(&answer(large).await));
    core.posted(pending(&answer(behind).await));
    let (tick, ..) = core.admitted()[3];
    assert!((small_at..small_at + 100).contains(&tick), "told {small_at}, passed at {tick}");
}

#[tokio::test(start_paused = true)]
async fn a_small_call_that_does_not_fit_beside_the_large_one_is_told_when_that_has_left() {
    let (_core, admission, chat) = spent_twice().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let large = ask(&admission, chat(3, 600), 60);
    joined(&admission, 1).await;
    let small = answer(ask(&admission, chat(4, 1), 0)).await;
    // The large one passes when both have left, and leaves a minute later at the earliest.
    assert!((130_000..133_000).contains(&retry_at(&small)), "{}", retry_at(&small));
    let ever = answer(ask(&admission, chat(5, 601), 0)).await;
    assert!(matches!(ever.reply, Reply::Refused(Refusal::Limit { retry_at: None, .. })), "{ever:?}");
    large.abort();
}

#[tokio::test(start_paused = true)]
async fn a_small_call_whose_wait_ends_behind_a_large_one_is_told_its_own_reading() {
    let (_core, admission, chat) = spent_twice().await;
    let large = ask(&admission, chat(3, 350), 60);
    joined(&admission, 1).await;
    let small = answer(ask(&admission, chat(4, 150), 5)).await;
    assert_eq!(told(&small), (600, 0, 150));
    assert!((70_000..71_300).contains(&retry_at(&small)), "{}", retry_at(&small));
    large.abort();
}

#[tokio::test(start_paused = true)]
async fn what_other_keys_need_of_their_own_rules_is_not_ahead_of_a_call() {
    let (core, admission) = core(10_000);
    let keys = [1, 2].map(|number| core.key(number, Priority::Normal));
    for key in keys {
        let own = OwnChange { limit: core::LIMIT.to_owned(), number: OwnNumber::Cap(Some(2)) };
        core.change(key, ApiKeyChange::Set(ApiKeyEdit { priority: None, own: vec![own] }));
    }
    for id in [1, 2] {
        for key in keys {
            core.posted(pending(&answer(ask(&admission, call(core.app, key, id), 0)).await));
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let asked = keys.map(|key| ask(&admission, call(core.app, key, 3), 30));
    joined(&admission, 2).await;
    let behind = answer(ask(&admission, call(core.app, keys[0], 4), 0)).await;
    let retry_at = retry_at(&behind);
    assert!((70_000..71_300).contains(&retry_at), "one of its own key passes before it: {retry_at}");
    asked.iter().for_each(JoinHandle::abort);
}
