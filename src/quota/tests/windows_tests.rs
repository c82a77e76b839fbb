use super::*;

const GUARD: i64 = 60_000;

fn daily(cap: u64) -> Meters {
    meters(&[&format!("daily | * | corp | calls | day | {cap}")])
}

#[test]
fn a_day_ends_a_guard_after_midnight_in_the_profiles_zone() {
    let mut meters = daily(3);
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT + HOUR)), 3);
    let refusal = refusal(judge(&meters, &call("a"), at(MIDNIGHT + 2 * HOUR)));
    let (reading, over) = (&refusal.reading, MIDNIGHT + DAY + GUARD);
    assert_eq!((reading.used, reading.cap, reading.window), (3, 3, Window::Day));
    assert_eq!((refusal.retry_at, reading.resets_at), (Some(over), Some(over)));
    assert!(!judge(&meters, &call("a"), at(over - 1)).is_admitted());
    assert!(judge(&meters, &call("a"), at(over)).is_admitted());
}

#[test]
fn around_midnight_a_call_counts_in_both_days() {
    for offset in [-GUARD, GUARD - 1] {
        let mut meters = daily(3);
        assert_eq!(spend(&mut meters, &call("a"), 3, at(MIDNIGHT + offset)), 3);
        assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + DAY - GUARD - 1)), 3, "{offset}");
        assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + DAY + GUARD)), 0);
    }
    let mut meters = daily(3);
    spend(&mut meters, &call("a"), 3, at(MIDNIGHT - GUARD - 1));
    assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + GUARD)), 0, "the day before alone");
}

#[test]
fn a_call_must_fit_the_day_that_ends_and_the_one_that_begins() {
    let mut meters = daily(3);
    spend(&mut meters, &call("a"), 2, at(MIDNIGHT - HOUR));
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT - 1)), 1);
    let refusal = refusal(judge(&meters, &call("a"), at(MIDNIGHT + GUARD - 1)));
    assert_eq!(refusal.retry_at, Some(MIDNIGHT + GUARD));
    assert_eq!(spend(&mut meters, &call("a"), 5, at(MIDNIGHT + GUARD)), 2, "one was near midnight");
}

#[test]
fn what_is_in_flight_over_midnight_counts_in_the_day_in_which_it_settles() {
    let mut meters = daily(2);
    assert!(take(&mut meters, &call("a"), at(MIDNIGHT - HOUR)));
    assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + 2 * DAY)), 1);
    post(&mut meters, &call("a"), at(MIDNIGHT + HOUR), true);
    assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + HOUR)), 1);
    assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + DAY + GUARD)), 0);
}

#[test]
fn a_month_has_as_many_days_as_the_calendar_says() {
    let mut meters = meters(&["monthly | * | corp | calls | month | 3"]);
    spend(&mut meters, &call("a"), 3, at(MIDNIGHT)); // 2024-02-28: two more days to come
    let over = MIDNIGHT + 2 * DAY + GUARD;
    assert_eq!(refusal(judge(&meters, &call("a"), at(MIDNIGHT))).retry_at, Some(over));
    assert!(!judge(&meters, &call("a"), at(over - 1)).is_admitted());
    assert_eq!(spend(&mut meters, &call("a"), 5, at(over)), 3);
    assert_eq!(refusal(judge(&meters, &call("a"), at(over))).retry_at, Some(MIDNIGHT + 33 * DAY + GUARD));
}

#[test]
fn concurrent_counts_what_is_in_flight_and_nothing_else() {
    let mut meters = meters(&["at-once | * | corp api | calls | concurrent | 2"]);
    assert!(take(&mut meters, &call("a"), at(0)) && take(&mut meters, &call("a"), at(0)));
    let refusal = refusal(judge(&meters, &call("a"), at(7)));
    assert_eq!((refusal.retry_at, refusal.reading.resets_at), (Some(7), Some(7)), "when one ends");
    post(&mut meters, &call("a"), at(7), false);
    assert!(take(&mut meters, &call("a"), at(7)));
    meters.give_back(&call("a"), &Cost::CALL);
    post(&mut meters, &call("a"), at(8), true);
    assert_eq!(used(&meters, "at-once", &call("a"), at(8)), 0);
    assert_eq!(usage(&meters, at(8)), []);
}

#[test]
fn a_call_of_unknown_outcome_keeps_its_place_among_those_under_way_for_a_minute() {
    let mut meters =
        meters(&["at-once | * | corp api | calls | concurrent | 2", "ever | * | corp | calls | total | 9"]);
    assert!(take(&mut meters, &call("a"), at(0)) && take(&mut meters, &call("a"), at(0)));
    meters.expire(&call("a"), &Cost::CALL, at(599));
    let minute = refusal(judge(&meters, &call("a"), at(100)));
    assert_eq!((minute.reading.used, minute.reading.in_flight), (2, 1));
    assert_eq!(minute.retry_at, Some(100), "the other one may end at once");
    meters.expire(&call("a"), &Cost::CALL, at(1_200));
    let both = refusal(judge(&meters, &call("a"), at(700)));
    let over = 600 + 60_000;
    assert_eq!((both.retry_at, both.reading.resets_at), (Some(over), Some(over + 1_200)));
    assert!(!judge(&meters, &call("a"), at(over - 1)).is_admitted());
    assert!(judge(&meters, &call("a"), at(over)).is_admitted());
    assert_eq!(used(&meters, "at-once", &call("a"), at(over + 1_200)), 0);
    meters.prune(at(over + 1_200));
    assert_eq!(used(&meters, "ever", &call("a"), at(over + 1_200)), 2, "it counts as spent");
}

#[test]
fn a_total_is_freed_by_a_correction_alone() {
    let mut meters = meters(&["ever | * | corp | calls | total | 3"]);
    assert_eq!(spend(&mut meters, &call("a"), 5, at(0)), 3);
    let refusal = refusal(judge(&meters, &call("a"), at(1_000 * DAY)));
    assert_eq!((refusal.retry_at, refusal.reading.resets_at), (None, None));
    for _ in 0..9 {
        meters.prune(at(1_000 * DAY));
    }
    assert_eq!(used(&meters, "ever", &call("a"), at(1_000 * DAY)), 3);
    meters.declare(&call("a"), &Cost::CALL, Declared::Corrected, at(1_000 * DAY));
    assert_eq!(spend(&mut meters, &call("a"), 5, at(1_000 * DAY)), 1);
}

#[test]
fn a_window_keeps_its_counts_over_a_reload() {
    let mut meters = meters(&[
        "daily | * | corp | calls | day | 9",
        "monthly | * | corp | calls | month | 9",
        "at-once | * | corp | calls | concurrent | 9",
        "ever | * | corp | calls | total | 9",
        "sliding | * | corp | calls | 30d | 9",
    ]);
    spend(&mut meters, &call("a"), 2, at(MIDNIGHT));
    take(&mut meters, &call("a"), at(MIDNIGHT));
    let bytes = postcard::to_stdvec(&meters).unwrap();
    let reloaded: Meters = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(reloaded, meters);
    assert_eq!(postcard::to_stdvec(&reloaded).unwrap(), bytes);
    let counts: Vec<(String, u64)> =
        usage(&reloaded, at(MIDNIGHT)).into_iter().map(|row| (row.0, row.1)).collect();
    let expected = [("at-once", 1), ("daily", 3), ("ever", 3), ("monthly", 3), ("sliding", 3)];
    assert_eq!(counts, expected.map(|(name, used)| (name.to_owned(), used)));
}

#[test]
fn the_pace_is_what_settled_in_the_last_five_minutes_or_so() {
    for window in ["1h", "day", "month", "total"] {
        let mut meters = meters(&[&format!("it | * | corp | calls | {window} | 1000")]);
        let pace = |meters: &Meters, tick| {
            let rows = meters.usage(at(tick), &Filter::default(), |_| 500, |_| "a");
            rows.first().map_or((0, 0), |row| (row.pace.amount, row.pace.over_ms))
        };
        spend(&mut meters, &call("a"), 100, at(MIDNIGHT - HOUR / 2));
        for minute in 0..10 {
            spend(&mut meters, &call("a"), 10, at(MIDNIGHT + HOUR / 4 + minute * MINUTE));
        }
        take(&mut meters, &call("a"), at(MIDNIGHT + HOUR / 4));
        let (amount, over_ms) = pace(&meters, MIDNIGHT + HOUR / 4 + 10 * MINUTE - 1);
        assert!((5 * MINUTE..=7 * MINUTE + 30_000).contains(&over_ms), "{window}: {over_ms}");
        let per_minute = amount * 60_000 / over_ms as u64;
        assert!((8..=10).contains(&per_minute), "{window}: {amount} in {over_ms}");
        let (idle, _) = pace(&meters, MIDNIGHT + HOUR / 2);
        assert_eq!(idle, 0, "{window}");
    }
}

#[test]
fn the_pace_of_a_short_window_is_over_the_window_and_of_a_long_one_over_a_bucket() {
    for (window, least, most) in [("60s", MINUTE, MINUTE + 600), ("30d", 5 * MINUTE, 7 * HOUR + HOUR)] {
        let mut meters = meters(&[&format!("it | * | corp | calls | {window} | 1000")]);
        spend(&mut meters, &call("a"), 7, at(MIDNIGHT));
        let pace = meters.usage(at(MIDNIGHT), &Filter::default(), |_| 500, |_| "a")[0].pace;
        assert_eq!(pace.amount, 7);
        assert!((least..=most).contains(&pace.over_ms), "{window}: {}", pace.over_ms);
    }
}

#[test]
fn what_settles_before_midnight_stays_there_though_an_expiry_lies_ahead_of_it() {
    let mut meters = daily(9);
    let midnight = MIDNIGHT - GUARD;
    meters.take(&call("a"), &Cost::CALL, at(midnight - 400));
    meters.expire(&call("a"), &Cost::CALL, at(midnight + 100));
    spend(&mut meters, &call("a"), 3, at(midnight - 300));
    assert_eq!(used(&meters, "daily", &call("a"), at(midnight - 300)), 4);
    assert_eq!(used(&meters, "daily", &call("a"), at(MIDNIGHT + HOUR)), 1);
}

#[test]
fn days_that_are_counted_together_are_of_the_same_month() {
    let mut meters = meters(&["monthly | * | corp | calls | month | 100"]);
    let march = MIDNIGHT + 2 * DAY;
    spend(&mut meters, &call("a"), 5, at(march - HOUR));
    for day in 0..20 {
        let noon = march + day * DAY + 12 * HOUR;
        spend(&mut meters, &call("a"), 1, at(noon));
        assert_eq!(used(&meters, "monthly", &call("a"), at(noon)), day as u64 + 1, "and no call of February");
    }
}

#[test]
fn nobody_behind_others_is_told_to_come_before_they_pass() {
    let mut meters = meters(&["it | * | corp | calls | 60s | 10"]);
    assert_eq!(spend(&mut meters, &call("a"), 10, at(0)), 10);
    let retry_at = |after: i64| {
        let of = (&call("a"), &Cost::CALL, 500);
        meters.refusal_behind(of, ("it", false), (1, after), at(0)).unwrap().retry_at
    };
    assert_eq!(retry_at(100), Some(60_600), "when there is room for all of them");
    assert_eq!(retry_at(100_000), Some(100_000), "they wait for longer, for whatever reason");
}
