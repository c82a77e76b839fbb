//! Days and months while somebody sets the wall clock.

use super::*;

const GUARD: i64 = 60_000;
/// Midnight in Shanghai before 2024-03-01.
const MARCH: i64 = MIDNIGHT + 2 * DAY;

/// A cap of so many a day or a month; the clock shows the tick.
fn counting(window: &str, cap: u64) -> Meters {
    let mut meters = meters(&[&format!("it | * | corp | calls | {window} | {cap}")]);
    meters.show(MIDNIGHT - 40 * DAY, 0);
    meters
}

fn retry_at(meters: &Meters, tick: i64) -> Option<i64> {
    refusal(judge(meters, &call("a"), at(tick))).retry_at
}

#[test]
fn a_clock_that_is_set_ahead_opens_no_second_budget_at_once() {
    let mut meters = counting("day", 3);
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT + HOUR)), 3);
    meters.show(MIDNIGHT + 2 * HOUR, 5 * DAY);
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT + 2 * HOUR)), 0);
    // By both readings the day ends at the same midnight.
    assert_eq!(retry_at(&meters, MIDNIGHT + 2 * HOUR), Some(MIDNIGHT + DAY + GUARD));
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT + DAY + GUARD)), 3);
}

#[test]
fn a_clock_that_is_set_ahead_and_back_freezes_nothing_and_loses_nothing() {
    let mut meters = counting("day", 5);
    spend(&mut meters, &call("a"), 2, at(MIDNIGHT + HOUR));
    meters.show(MIDNIGHT + 2 * HOUR, 365 * DAY);
    spend(&mut meters, &call("a"), 2, at(MIDNIGHT + 3 * HOUR));
    meters.show(MIDNIGHT + 4 * HOUR, 3);
    assert_eq!(used(&meters, "it", &call("a"), at(MIDNIGHT + 4 * HOUR)), 4, "nothing twice, nothing lost");
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT + 4 * HOUR)), 1);
    assert_eq!(retry_at(&meters, MIDNIGHT + 4 * HOUR), Some(MIDNIGHT + DAY + GUARD));
    assert_eq!(spend(&mut meters, &call("a"), 9, at(MIDNIGHT + DAY + GUARD)), 5);
}

#[test]
fn after_a_day_the_newer_reading_is_believed_alone() {
    let mut meters = counting("month", 3);
    spend(&mut meters, &call("a"), 3, at(MIDNIGHT - 23 * DAY));
    // It is the 20th of February by one reading, and the 6th of March by the other.
    let set = MIDNIGHT - 8 * DAY;
    meters.show(set, 15 * DAY);
    assert_eq!(retry_at(&meters, set), Some(set + DAY));
    assert!(!judge(&meters, &call("a"), at(set + DAY - 1)).is_admitted());
    assert_eq!(spend(&mut meters, &call("a"), 2, at(set + DAY)), 2, "March by the newer one");
    // It was February after all, and what the clock took for March was spent in it.
    meters.show(set + 3 * DAY, 0);
    assert_eq!(used(&meters, "it", &call("a"), at(set + 3 * DAY)), 5);
    assert_eq!(retry_at(&meters, set + 3 * DAY), Some(MARCH + GUARD));
}

#[test]
fn a_clock_that_was_a_little_behind_and_is_put_right_closes_no_month() {
    let mut meters = counting("month", 3);
    let set = MARCH - 2 * MINUTE;
    assert_eq!(spend(&mut meters, &call("a"), 5, at(set - 1)), 3);
    meters.show(set, 5 * MINUTE);
    // The reading before still has three minutes of February to go.
    assert_eq!(retry_at(&meters, set), Some(MARCH + GUARD));
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MARCH + GUARD)), 3);
}

#[test]
fn what_was_spent_after_midnight_stays_spent_when_the_clock_was_behind_for_a_while() {
    let mut meters = counting("day", 9);
    spend(&mut meters, &call("a"), 1, at(MIDNIGHT - HOUR));
    meters.show(MIDNIGHT - 10 * MINUTE, -30 * MINUTE);
    spend(&mut meters, &call("a"), 2, at(MIDNIGHT + 5 * MINUTE));
    meters.show(MIDNIGHT + 10 * MINUTE, 2);
    assert_eq!(used(&meters, "it", &call("a"), at(MIDNIGHT + 12 * HOUR)), 2);
    // Also when the first reading has lapsed: this one was known before.
    let later = MIDNIGHT + DAY - 5 * MINUTE;
    assert_eq!(used(&meters, "it", &call("a"), at(later)), 2);
}

#[test]
fn a_correction_by_milliseconds_does_not_bring_the_day_before_back() {
    for corrected in [-2, 2, -1_500, 1_500] {
        let mut meters = counting("day", 9);
        spend(&mut meters, &call("a"), 5, at(MIDNIGHT - GUARD - 1));
        spend(&mut meters, &call("a"), 1, at(MIDNIGHT + HOUR));
        meters.show(MIDNIGHT + 2 * HOUR, corrected);
        assert_eq!(used(&meters, "it", &call("a"), at(MIDNIGHT + 2 * HOUR)), 1, "{corrected}");
        meters.show(MIDNIGHT + 3 * HOUR, 4 * HOUR);
        meters.show(MIDNIGHT + 4 * HOUR, corrected);
        assert_eq!(used(&meters, "it", &call("a"), at(MIDNIGHT + 30 * HOUR)), 0, "{corrected}");
    }
}

#[test]
fn a_clock_that_is_set_back_over_midnight_finds_the_day_before_as_it_was() {
    let mut meters = counting("day", 9);
    spend(&mut meters, &call("a"), 5, at(MIDNIGHT - HOUR));
    spend(&mut meters, &call("a"), 1, at(MIDNIGHT + HOUR));
    (0..9).for_each(|_| meters.prune(at(MIDNIGHT + HOUR)));
    meters.show(MIDNIGHT + HOUR, -3 * HOUR);
    assert_eq!(used(&meters, "it", &call("a"), at(MIDNIGHT + HOUR)), 6);
}

#[test]
fn a_clock_that_is_set_all_the_time_takes_no_more_memory() {
    let mut meters = counting("month", 1_000_000);
    let size = |meters: &Meters| postcard::to_stdvec(meters).unwrap().len();
    let mut largest = 0;
    for hour in 0..2_000 {
        let tick = MIDNIGHT + hour * HOUR;
        meters.show(tick, (hour * 7_919 % 977 - 488) * HOUR);
        assert_eq!(spend(&mut meters, &call("a"), 3, at(tick)), 3);
        assert!(used(&meters, "it", &call("a"), at(tick)) >= 3);
        if hour == 100 {
            largest = size(&meters) + 16;
        }
        assert!(hour <= 100 || size(&meters) <= largest);
    }
}

#[test]
fn an_outcome_that_lies_ahead_makes_nothing_of_today_forgotten() {
    let mut meters = meters(&["it | * | corp | person_times | day | 100"]);
    let mut tick = MIDNIGHT + 5 * HOUR;
    let one = Cost { person_times: 1, ..Cost::default() };
    for i in 0..8_i64 {
        meters.show(tick, i * 6_000);
        meters.take(&call("a"), &one, at(tick));
        meters.settle(&call("a"), &one, &one, at(tick), true);
        tick += MINUTE;
    }
    meters.take(&call("a"), &one, at(tick));
    meters.show(tick, 60_000);
    meters.expire(&call("a"), &one, at(tick + DAY - 1_000));
    assert_eq!(meters.readings(&call("a"), &one, 500, at(tick))[0].used, 9);
}
