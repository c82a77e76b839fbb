use super::fake::{APP, Fake, fake, reading};
use super::*;
use crate::admission::line::{Line, Spot, Step};
use crate::admission::queue::Waiter;
use crate::admission::{Question, WAITERS_KEPT, WAITERS_MAX, WAITERS_OF_KEY_MAX};
use crate::ledger::command::{Hit, Reach, Refusal, Standing};
use crate::ledger::entry::{PenaltyLevel, Priority};

fn is_refused(answer: &Answer) -> bool {
    matches!(answer.reply, Reply::Refused(Refusal::Limit { .. }))
}

#[tokio::test(start_paused = true)]
async fn keys_take_turns_also_when_several_places_become_free_at_once() {
    let (fake, admission) = fake();
    let calls = [(11, 1), (11, 2), (11, 3), (11, 4), (12, 5), (12, 6), (13, 7)];
    let asked: Vec<_> = calls.map(|(key, id)| ask(&admission, call(APP, key, id), 60)).into();
    a_moment().await;
    fake.give(7);
    for asked in asked {
        assert!(is_admitted(&answer(asked).await));
    }
    assert_eq!(fake.inside().admitted, [1, 5, 7, 2, 6, 3, 4]);
    assert_eq!(admission.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn room_that_comes_while_another_is_asked_for_is_for_those_refused_before_as_well() {
    let (fake, admission) = fake();
    fake.inside().own.extend([11, 12].map(|key| (Caller::Key(key), Reach::Caller)));
    let [first, second] = [(11, 1), (12, 2)].map(|(key, id)| ask(&admission, call(APP, key, id), 60));
    a_moment().await;
    fake.hold(true);
    // Both may try again, the first one is asked for and refused, and only then there is room for it.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let begun = Instant::now();
    fake.inside().own.remove(&Caller::Key(11));
    fake.give(1);
    fake.hold(false);
    assert!(is_admitted(&answer(first).await));
    assert!(ms_since(begun) < 1_000, "{}", ms_since(begun));
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn turns_go_on_where_they_stopped() {
    let (fake, admission) = fake();
    let calls = [(11, 1), (11, 2), (12, 3), (12, 4), (13, 5), (13, 6)];
    let asked: Vec<_> = calls.map(|(key, id)| ask(&admission, call(APP, key, id), 60)).into();
    a_moment().await;
    for _ in 0..6 {
        fake.give(1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(asked);
    assert_eq!(fake.inside().admitted, [1, 3, 5, 2, 4, 6]);
}

#[tokio::test(start_paused = true)]
async fn critical_keys_come_before_normal_ones_and_those_before_batch() {
    let (fake, admission) = fake();
    let calls = [(31, 1), (31, 2), (11, 3), (12, 4), (11, 5), (21, 6), (21, 7)];
    let asked: Vec<_> = calls.map(|(key, id)| ask(&admission, call(APP, key, id), 60)).into();
    a_moment().await;
    fake.give(6);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fake.inside().admitted, [6, 7, 3, 4, 5, 1]);
    assert_eq!(admission.waiting(), 1);
    drop(asked);
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_line_but_a_critical_key_that_does_not_wait() {
    let (fake, admission) = fake();
    let waiting = ask(&admission, call(APP, 31, 1), 60);
    a_moment().await;
    // There is room, but the line does not know yet.
    fake.inside().places = 2;
    let refused = answer(ask(&admission, call(APP, 11, 2), 0)).await;
    assert!(is_refused(&refused) && refused.note().is_none());
    assert_eq!(fake.inside().refused, [2]);
    assert!(is_admitted(&answer(ask(&admission, call(APP, 21, 3), 0)).await));
    // Another API has another line.
    let other = Admit { api: "user/get".to_owned(), ..call(APP, 11, 4) };
    assert!(is_admitted(&answer(ask(&admission, other, 0)).await));
    fake.give(1);
    assert!(is_admitted(&answer(waiting).await));
    assert_eq!(fake.inside().admitted, [3, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_waits_joins_the_end_though_there_is_room() {
    let (fake, admission) = fake();
    let first = ask(&admission, call(APP, 11, 1), 60);
    a_moment().await;
    fake.inside().places = 2;
    let second = ask(&admission, call(APP, 12, 2), 60);
    a_moment().await;
    assert!(fake.inside().admitted.is_empty());
    fake.say_room();
    assert!(is_admitted(&answer(first).await) && is_admitted(&answer(second).await));
    assert_eq!(fake.inside().admitted, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn whose_time_is_up_is_refused_as_it_was_last() {
    let (fake, admission) = fake();
    let begun = Instant::now();
    let waited = answer(ask(&admission, call(APP, 11, 1), 5)).await;
    assert!(is_refused(&waited) && (5_000..5_010).contains(&ms_since(begun)), "{}", ms_since(begun));
    assert_eq!(waited.note().unwrap(), "it has waited 5 s in line");
    assert_eq!(waited.applied(), Wait::of_secs(5));
    assert_eq!(fake.inside().refused, [1]);
    assert_eq!(fake.inside().asks, 1);
    assert_eq!(admission.waiting(), 0);
    // The line is no more: room is there for whoever comes.
    fake.inside().places = 1;
    assert!(is_admitted(&answer(ask(&admission, call(APP, 11, 2), 0)).await));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_gone_leaves_at_once_and_without_a_trace() {
    let (fake, admission) = fake();
    let gone = ask(&admission, call(APP, 11, 1), 60);
    let stays = ask(&admission, call(APP, 11, 2), 60);
    // The other way to go.
    let (hang_up, hung_up) = tokio::sync::oneshot::channel::<()>();
    let ticket = admission.ticket(Wait::of_secs(60));
    let also_gone = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move {
            let hung_up = async move { drop(hung_up.await) };
            admission.ask(Command::Admit, call(APP, 12, 3), &ticket, hung_up).await
        }
    });
    a_moment().await;
    assert_eq!(admission.waiting(), 3);
    gone.abort();
    drop(hang_up);
    a_moment().await;
    assert_eq!(admission.waiting(), 1);
    assert!(is_refused(&answer(also_gone).await));
    fake.give(3);
    assert!(is_admitted(&answer(stays).await));
    let inside = fake.inside();
    assert_eq!((&inside.admitted[..], inside.refused.len(), inside.abandoned.len()), (&[2][..], 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_more_than_there_are_places_is_refused_at_once_and_told_so() {
    let (fake, admission) = fake();
    let normal = (WAITERS_MAX - WAITERS_KEPT) as u64;
    let mut asked: Vec<_> =
        (0..normal).map(|id| ask(&admission, call(APP, [11, 12, 13, 31][id as usize % 4], id), 60)).collect();
    a_moment().await;
    assert_eq!(admission.waiting(), WAITERS_MAX - WAITERS_KEPT);
    let begun = Instant::now();
    let refused = answer(ask(&admission, call(APP, 12, 7_000), 60)).await;
    assert!(is_refused(&refused) && ms_since(begun) < 10);
    assert!(refused.note().unwrap().contains("of 1000 places for that none is free for it"));
    assert_eq!((refused.applied(), &fake.inside().refused[..]), (None, &[7_000][..]));
    // The rest is for critical keys.
    asked.extend((0..WAITERS_KEPT as u64).map(|id| ask(&admission, call(APP, 21, 1_000 + id), 60)));
    a_moment().await;
    assert_eq!(admission.waiting(), WAITERS_MAX);
    let refused = answer(ask(&admission, call(APP, 21, 7_001), 60)).await;
    assert!(is_refused(&refused) && refused.note().unwrap().contains("none is free"));
    fake.give(1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert!(is_refused(&answer(ask(&admission, call(APP, 21, 7_002), 1)).await));
    assert!(ms_since(begun) >= 1_000, "a place is free again");
    asked.iter().for_each(JoinHandle::abort);
    a_moment().await;
    assert_eq!(admission.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_takes_its_share_of_the_places_and_leaves_the_others() {
    let (_, admission) = fake();
    // In lines of several APIs.
    let greedy = |id: u64| Admit { api: format!("user/get{}", id % 3), ..call(APP, 11, id) };
    let asked: Vec<_> = (0..1_000).map(|id| ask(&admission, greedy(id), 60)).collect();
    a_moment().await;
    assert_eq!(admission.waiting(), WAITERS_OF_KEY_MAX);
    let refused = answer(ask(&admission, greedy(2_000), 60)).await;
    assert!(refused.note().unwrap().contains("250 calls of its API key do so already"));
    let other = ask(&admission, call(APP, 12, 3_000), 60);
    a_moment().await;
    assert_eq!(admission.waiting(), WAITERS_OF_KEY_MAX + 1);
    other.abort();
    asked.iter().for_each(JoinHandle::abort);
    a_moment().await;
    assert_eq!(admission.waiting(), 0);
    let again = ask(&admission, call(APP, 11, 4_000), 60);
    a_moment().await;
    assert_eq!(admission.waiting(), 1);
    again.abort();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_ends_all_waits_at_once() {
    let (fake, admission) = fake();
    let asked = [ask(&admission, call(APP, 11, 1), 60), ask(&admission, call(APP, 12, 2), 60)];
    a_moment().await;
    let begun = Instant::now();
    admission.drain();
    for asked in asked {
        let refused = answer(asked).await;
        assert!(is_refused(&refused) && refused.note().unwrap().contains("this process stops"));
    }
    let late = answer(ask(&admission, call(APP, 13, 3), 60)).await;
    assert!(is_refused(&late) && late.applied().is_none());
    assert!(ms_since(begun) < 10);
    assert_eq!(fake.inside().refused.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_ones_own_holds_nobody_else_back() {
    let (fake, admission) = fake();
    fake.inside().own.insert(Caller::Key(11), Reach::Caller);
    let own = [ask(&admission, call(APP, 11, 1), 60), ask(&admission, call(APP, 11, 2), 60)];
    a_moment().await;
    fake.inside().places = 2;
    assert!(is_admitted(&answer(ask(&admission, call(APP, 12, 3), 0)).await));
    assert!(is_refused(&answer(ask(&admission, call(APP, 11, 4), 0)).await));
    assert!(is_admitted(&answer(ask(&admission, call(APP, 12, 5), 60)).await));
    assert_eq!(fake.inside().asks, 3, "the second call of a key is not tried before the first");
    fake.inside().own.clear();
    fake.give(2);
    for own in own {
        assert!(is_admitted(&answer(own).await));
    }
    assert_eq!(fake.inside().admitted, [3, 5, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_reserve_that_holds_others_back_does_not_hold_critical_keys() {
    let (fake, admission) = fake();
    fake.inside().own.insert(Caller::Key(21), Reach::Caller);
    let begun = Instant::now();
    let critical = ask(&admission, call(APP, 21, 1), 60);
    tokio::time::sleep(Duration::from_secs(5)).await;
    fake.inside().reserve = true;
    let normal = ask(&admission, call(APP, 11, 2), 60);
    a_moment().await;
    fake.inside().own.clear();
    fake.inside().places = 1;
    assert!(is_admitted(&answer(critical).await));
    assert!((10_000..10_050).contains(&ms_since(begun)), "{} ms", ms_since(begun));
    normal.abort();
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_concerns_one_call_alone_holds_no_other_back() {
    let (fake, admission) = fake();
    fake.inside().own_calls.insert(1);
    let held = ask(&admission, call(APP, 11, 1), 60);
    a_moment().await;
    fake.inside().places = 2;
    assert!(is_admitted(&answer(ask(&admission, call(APP, 11, 2), 0)).await));
    fake.inside().own_calls.clear();
    let begun = Instant::now();
    assert!(is_admitted(&answer(held).await));
    assert!((9_900..10_010).contains(&ms_since(begun)), "when it may try again, and no earlier");
}

/// A call of a key joins a line; how it was refused before.
fn join(
    admission: &Arc<Admission<Arc<Fake>>>,
    line: &mut Line,
    class: Priority,
    key: u64,
    first: Standing,
) -> Spot {
    let caller = Caller::Key(key);
    let spot = Spot { class, caller, number: key };
    let question = Arc::new(Question { make: Command::Admit, admit: call(APP, key, key) });
    let held = admission.places.take(caller, class).ok().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    let (answer, _) = tokio::sync::oneshot::channel();
    line.join(spot, Waiter::new(question, answer, first, until, held));
    spot
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_block_that_held_those_before_once_and_no_more() {
    let (_, admission) = fake();
    let (mut line, now) = (Line::default(), Instant::now());
    let limit =
        |reach| Standing { hit: Hit::Limit(reading(false)), retry_at: Some(10_000), needed: 1, reach };
    let spots =
        [11, 12].map(|key| join(&admission, &mut line, Priority::Normal, key, limit(Reach::Everybody)));
    let hit = Hit::Blocked { penalty: 5, level: PenaltyLevel::Minute, errcode: 45009 };
    let blocked = Standing { hit, ..limit(Reach::Everybody) };
    line.note(spots[0], blocked.clone(), false, now, 0);
    let told = |line: &Line| line.behind(&[Priority::Normal], Caller::Key(13)).unwrap().standing;
    assert_eq!(told(&line), blocked);
    // By now its own rule alone holds the first one.
    assert!(line.refused(spots[0], limit(Reach::Caller), now, 0).is_none());
    assert_eq!(told(&line), limit(Reach::Everybody), "as the other one was refused");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_key_is_critical_no_more_is_not_asked_for_again_and_again() {
    let (_, admission) = fake();
    let (mut line, now) = (Line::default(), Instant::now());
    let hit = Hit::Limit(reading(true));
    let refused = Standing { hit, retry_at: Some(10_000), needed: 1, reach: Reach::Everybody };
    let spot = join(&admission, &mut line, Priority::Critical, 21, refused.clone());
    assert!(matches!(line.next(now, 0), Step::Ask(..)));
    // What is kept for critical calls holds it back by now.
    assert!(line.refused(spot, refused, now, 0).is_none());
    assert!(matches!(line.next(now, 0), Step::Sleep(Some(time)) if !time.is_zero()));
    assert!(matches!(line.next(now + Duration::from_secs(10), 10_000), Step::Ask(..)));
}
