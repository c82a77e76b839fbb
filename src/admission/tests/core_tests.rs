use super::core::core;
use super::*;
use crate::ledger::command::{ApiKeyChange, ApiKeyEdit, Refusal, Unauthorized};
use crate::ledger::entry::Priority;
use crate::quota::Operator;

/// Asks, and posts at once what was admitted.
fn ask_and_post(core: &Arc<core::Core>, admission: &Arc<Admission<Arc<core::Core>>>, key: Seq, id: u64) {
    let (core, asked) = (Arc::clone(core), ask(admission, call(core.app, key, id), 60));
    tokio::spawn(async move {
        if let Reply::Admitted { pending, .. } = answer(asked).await.reply {
            core.posted(pending);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_greedy_key_gets_its_share_of_a_limit_and_no_more() {
    const CAP: u64 = 60;
    let (core, admission) = core(CAP);
    let keys = [1, 2, 3].map(|number| core.key(number, Priority::Normal));
    for id in 0..240 {
        // The first key sends ten times as much as each of the others, which send twice their share.
        for _ in 0..10 {
            ask_and_post(&core, &admission, keys[0], id);
        }
        ask_and_post(&core, &admission, keys[1], id);
        ask_and_post(&core, &admission, keys[2], id);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    let admitted = core.admitted();
    // The first minute found the window empty.
    for minute in 1..5_i64 {
        let within = |tick: i64| (minute * 60_000..(minute + 1) * 60_000).contains(&tick);
        let of = |key: Seq| admitted.iter().filter(|(tick, by, _)| *by == key && within(*tick)).count();
        let counts = keys.map(of);
        assert!(counts.iter().all(|count| (18..=22).contains(count)), "minute {minute}: {counts:?}");
    }
    for key in keys {
        let ids: Vec<u64> = admitted.iter().filter(|(_, by, _)| *by == key).map(|(_, _, id)| *id).collect();
        assert!(ids.is_sorted(), "first come, first served: {ids:?}");
    }
    let asks = core.inside().asks;
    assert!(asks < 6_000, "{asks} asks for 2,880 calls");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_admitted_as_soon_as_the_window_allows() {
    let (core, admission) = core(1);
    let key = core.key(1, Priority::Normal);
    ask_and_post(&core, &admission, key, 1);
    a_moment().await;
    let waiting = ask(&admission, call(core.app, key, 2), 60);
    assert!(!is_admitted(&answer(waiting).await), "a minute is not enough, since buckets are 600 ms wide");
    let waiting = ask(&admission, call(core.app, key, 3), 60);
    assert!(is_admitted(&answer(waiting).await));
    let free_at = 60_600;
    let (tick, _, id) = core.admitted()[1];
    assert_eq!(id, 3);
    assert!((free_at..free_at + 30).contains(&tick), "{tick}");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_goes_to_the_first_in_line() {
    let (core, admission) = core(1);
    let key = core.key(1, Priority::Normal);
    let Reply::Admitted { pending, .. } = answer(ask(&admission, call(core.app, key, 1), 0)).await.reply
    else {
        panic!()
    };
    let waiting = ask(&admission, call(core.app, key, 2), 60);
    tokio::time::sleep(Duration::from_secs(7)).await;
    let begun = Instant::now();
    core.voided(pending);
    assert!(is_admitted(&answer(waiting).await));
    assert!(ms_since(begun) < 50, "{} ms", ms_since(begun));
    assert_eq!(core.refusals(), 0, "who waits and is admitted was never refused");
}

#[tokio::test(start_paused = true)]
async fn a_cap_that_is_raised_lets_in_as_many_as_it_says() {
    let (core, admission) = core(0);
    let key = core.key(1, Priority::Normal);
    core.set_cap(1);
    ask_and_post(&core, &admission, key, 0);
    a_moment().await;
    let asked: Vec<_> = (1..6).map(|id| ask(&admission, call(core.app, key, id), 30)).collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    core.set_cap(4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ids: Vec<u64> = core.admitted().into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
    for (asked, admitted) in asked.into_iter().zip([true, true, true, false, false]) {
        assert_eq!(is_admitted(&answer(asked).await), admitted);
    }
    assert_eq!(core.refusals(), 2, "those whose time was up");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_makes_room_where_so_many_may_run_at_the_same_time() {
    let (core, admission) = core(100);
    let (profile, operator, own) = ("wecom-2023".to_owned(), Operator::Corp, None);
    core.act(Command::PutLimits { profile, operator, own });
    let key = core.key(1, Priority::Normal);
    let tag = |id| Admit { api: "externalcontact/mark_tag".to_owned(), ..call(core.app, key, id) };
    let mut pendings = Vec::new();
    for id in 0..5 {
        match answer(ask(&admission, tag(id), 0)).await.reply {
            Reply::Admitted { pending, .. } => pendings.push(pending),
            other => panic!("{other:?}"),
        }
    }
    let waiting = ask(&admission, tag(5), 60);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(admission.waiting(), 1);
    let begun = Instant::now();
    core.posted(pendings[0]);
    assert!(is_admitted(&answer(waiting).await));
    assert!(ms_since(begun) < 50, "{} ms", ms_since(begun));
}

#[tokio::test(start_paused = true)]
async fn places_among_calls_that_run_at_the_same_time_go_to_the_line_in_its_order() {
    let (core, admission) = core(100);
    let (profile, operator, own) = ("wecom-2023".to_owned(), Operator::Corp, None);
    core.act(Command::PutLimits { profile, operator, own });
    let keys = [1, 2].map(|number| core.key(number, Priority::Normal));
    let tag = |key, id| Admit { api: "externalcontact/mark_tag".to_owned(), ..call(core.app, key, id) };
    let mut running = Vec::new();
    for id in 0..5 {
        match answer(ask(&admission, tag(keys[0], id), 0)).await.reply {
            Reply::Admitted { pending, .. } => running.push(pending),
            other => panic!("{other:?}"),
        }
    }
    // The first key is greedy; the second one comes later, and once.
    let asked = [(0, 5), (0, 6), (0, 7), (1, 8)].map(|(key, id)| ask(&admission, tag(keys[key], id), 60));
    a_moment().await;
    for (ended, admitted) in [5, 8, 6].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(core.admitted().len(), 5 + ended, "no place but at the end of a call");
        let (begun, before) = (Instant::now(), core.admitted().len());
        core.posted(running[ended]);
        while core.admitted().len() == before {
            a_moment().await;
        }
        assert!(ms_since(begun) < 50, "{} ms", ms_since(begun));
        assert_eq!(core.admitted()[before].2, admitted);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((core.admitted().len(), admission.waiting()), (8, 1));
    drop(asked);
}

#[tokio::test(start_paused = true)]
async fn a_block_of_wecoms_that_is_cleared_lets_the_line_go_on() {
    let (core, admission) = core(10);
    let key = core.key(1, Priority::Normal);
    let Reply::Admitted { pending, .. } = answer(ask(&admission, call(core.app, key, 1), 0)).await.reply
    else {
        panic!()
    };
    core.answered(pending, 45009);
    let asked = [2, 3].map(|id| ask(&admission, call(core.app, key, id), 50));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((admission.waiting(), core.admitted().len()), (2, 1));
    let (begun, started) = (Instant::now(), core.penalty());
    core.act(Command::ClearPenalty { started });
    for asked in asked {
        assert!(is_admitted(&answer(asked).await));
    }
    assert!(ms_since(begun) < 100);
    assert_eq!(core.refusals(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_revoked_while_it_waited_is_refused_at_its_turn() {
    let (core, admission) = core(1);
    let keys = [1, 2].map(|number| core.key(number, Priority::Normal));
    let Reply::Admitted { pending, .. } = answer(ask(&admission, call(core.app, keys[0], 1), 0)).await.reply
    else {
        panic!()
    };
    let ended = ask(&admission, call(core.app, keys[0], 2), 60);
    let fine = ask(&admission, call(core.app, keys[1], 3), 60);
    a_moment().await;
    core.change(keys[0], ApiKeyChange::Revoke);
    core.voided(pending);
    assert_eq!(answer(ended).await.reply, Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended)));
    assert!(is_admitted(&answer(fine).await));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_not_do_it_is_told_so_at_once_however_long_the_line() {
    let (core, admission) = core(1);
    let keys = [1, 2].map(|number| core.key(number, Priority::Normal));
    ask_and_post(&core, &admission, keys[0], 1);
    a_moment().await;
    let waiting = ask(&admission, call(core.app, keys[0], 2), 60);
    a_moment().await;
    core.change(keys[1], ApiKeyChange::Pause);
    let begun = Instant::now();
    for wait_secs in [0, 60] {
        let refused = answer(ask(&admission, call(core.app, keys[1], 3), wait_secs)).await;
        assert_eq!(refused.reply, Reply::Refused(Refusal::Unauthorized(Unauthorized::Ended)));
    }
    assert!(ms_since(begun) < 10);
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_batch_key_that_is_never_reached_runs_out_of_time() {
    let (core, admission) = core(10);
    let normal = core.key(1, Priority::Normal);
    let batch = core.key(2, Priority::Batch);
    for id in 0..10 {
        ask_and_post(&core, &admission, normal, id);
    }
    a_moment().await;
    let starved = ask(&admission, call(core.app, batch, 1), 60);
    for id in 10..100 {
        ask_and_post(&core, &admission, normal, id);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(!is_admitted(&answer(starved).await));
    // The same key, once somebody has thought better of it.
    core.change(batch, ApiKeyChange::Set(ApiKeyEdit { priority: Some(Priority::Critical), own: vec![] }));
    assert!(is_admitted(&answer(ask(&admission, call(core.app, batch, 2), 60)).await));
}
