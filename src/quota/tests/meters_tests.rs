use std::ops::ControlFlow;

use super::*;

const MINUTE: i64 = 60_000;

/// Wall time that goes with ledger time.
fn at(tick: i64) -> Moment {
    Moment { tick, at: tick }
}

fn meters() -> Meters {
    Meters::new(&shipped("qyh-2015", Operator::Corp).unwrap()).unwrap()
}

fn call(corp: u64, api: u64, egress_ip: u64) -> Facets<'static> {
    Facets { corp, app: 1, api, api_name: "user/get", egress_ip, api_key: 1, ..Facets::default() }
}

fn judge(meters: &Meters, facets: &Facets<'_>, tick: i64) -> Judgement {
    meters.judge(facets, &Cost::CALL, 500, at(tick))
}

/// Admits and settles at once, as long as it is allowed.
fn spend(meters: &mut Meters, facets: &Facets<'_>, count: usize, tick: i64) -> usize {
    let spend_one = |_: &usize| {
        let admitted = judge(meters, facets, tick).is_admitted();
        if admitted {
            meters.take(facets, &Cost::CALL, at(tick));
            meters.settle(facets, &Cost::CALL, &Cost::CALL, at(tick), true);
        }
        admitted
    };
    (0..count).take_while(spend_one).count()
}

fn refusal(judgement: Judgement) -> Refusal {
    match judgement {
        Judgement::Refused(refusal) => refusal,
        Judgement::Admitted { .. } => panic!("{judgement:?}"),
    }
}

fn used(meters: &Meters, facets: &Facets<'_>, tick: i64) -> Vec<u64> {
    meters.readings(facets, &Cost::CALL, 500, at(tick)).iter().map(|reading| reading.used).collect()
}

#[test]
fn the_call_after_the_last_one_of_a_minute_is_refused_until_the_window_has_moved_on() {
    let mut meters = meters();
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 2_000, 0), 1_000);
    let refusal = refusal(judge(&meters, &call(1, 1, 1), 10));
    assert_eq!(&*refusal.reading.limit, "corp-api-minute");
    assert_eq!((refusal.reading.cap, refusal.reading.used, refusal.reading.remaining), (1_000, 1_000, 0));
    assert_eq!((refusal.needed, refusal.retry_at), (1, Some(60_600)));
    assert!(!judge(&meters, &call(1, 1, 1), 60_599).is_admitted());
    assert!(judge(&meters, &call(1, 1, 1), 60_600).is_admitted());
}

#[test]
fn the_hour_refuses_after_thirty_full_minutes_and_is_named_because_it_lasts_longer() {
    let mut meters = meters();
    for minute in 0..30 {
        assert_eq!(spend(&mut meters, &call(1, 1, 1), 1_000, minute * 61_000), 1_000);
    }
    let refusal = refusal(judge(&meters, &call(1, 1, 1), 30 * 61_000 - 60_000));
    assert_eq!(&*refusal.reading.limit, "corp-api-hour");
    assert_eq!(refusal.retry_at, Some(3_636_000));
}

#[test]
fn corps_and_apis_have_counters_of_their_own_and_share_those_of_the_egress_ip() {
    let mut meters = meters();
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 2_000, 0), 1_000);
    assert_eq!(spend(&mut meters, &call(1, 2, 1), 2_000, 0), 1_000, "another API");
    assert_eq!(spend(&mut meters, &call(2, 1, 1), 2_000, 0), 1_000, "another corp");
    let refusal = refusal(judge(&meters, &call(3, 1, 1), 0));
    assert_eq!(&*refusal.reading.limit, "ip-api-minute");
    assert!(judge(&meters, &call(3, 1, 2), 0).is_admitted(), "another egress IP");
}

#[test]
fn a_refused_call_changes_no_counter() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 1_000, 0);
    let before = meters.clone();
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 1, 0), 0);
    assert_eq!(meters, before);
    assert_eq!(used(&meters, &call(2, 1, 1), 0), [0, 0, 1_000, 1_000]);
}

#[test]
fn a_voided_call_leaves_no_trace() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 10, 0);
    let before = meters.clone();
    meters.take(&call(1, 1, 1), &Cost::CALL, at(0));
    assert_eq!(used(&meters, &call(1, 1, 1), 0), [11; 4]);
    meters.give_back(&call(1, 1, 1), &Cost::CALL);
    assert_eq!(meters, before);
}

#[test]
fn a_raised_cap_takes_effect_at_once_and_only_where_it_was_raised() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 1_000, 0);
    spend(&mut meters, &call(2, 1, 2), 1_000, 0);
    meters.set_cap("corp-api-minute", Some(1), Some(Cap::Fixed(1_500))).unwrap();
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 1_000, 1), 500);
    assert_eq!(spend(&mut meters, &call(2, 1, 2), 1_000, 1), 0);
    meters.set_cap("corp-api-minute", None, Some(Cap::PerAccount(3))).unwrap();
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 1_000, 1), 0, "its own cap wins");
    assert_eq!(spend(&mut meters, &call(2, 1, 2), 1_000, 1), 500, "3 for each of 500 accounts");
}

#[test]
fn a_lowered_cap_refuses_until_enough_has_left_and_can_be_taken_back() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 600, 0);
    spend(&mut meters, &call(1, 1, 1), 300, 30_000);
    meters.set_cap("corp-api-minute", Some(1), Some(Cap::Fixed(300))).unwrap();
    let refusal = refusal(judge(&meters, &call(1, 1, 1), 40_000));
    assert_eq!((refusal.reading.used, refusal.reading.remaining), (900, 0));
    assert_eq!(refusal.retry_at, Some(90_600));
    meters.set_cap("corp-api-minute", Some(1), None).unwrap();
    assert!(judge(&meters, &call(1, 1, 1), 40_000).is_admitted());
}

#[test]
fn an_override_must_name_a_limit_that_can_tell_what_it_is_about() {
    let mut meters = meters();
    let before = meters.clone();
    let unknown = meters.set_cap("corp-api-second", None, Some(Cap::Fixed(1))).unwrap_err();
    assert_eq!(unknown, OverrideError::UnknownLimit("corp-api-second".to_owned()));
    for (corp, cap) in [(Some(1), Some(Cap::Fixed(1))), (Some(1), None), (None, Some(Cap::PerAccount(1)))] {
        let error = meters.set_cap("ip-api-hour", corp, cap).unwrap_err();
        assert_eq!(error, OverrideError::NotPerCorp("ip-api-hour".to_owned()));
    }
    assert_eq!(meters, before);
}

#[test]
fn a_call_that_needs_more_than_the_cap_can_never_pass() {
    let cost = Cost { calls: 1_001, ..Cost::default() };
    let refusal = refusal(meters().judge(&call(1, 1, 1), &cost, 500, at(0)));
    assert_eq!((&*refusal.reading.limit, refusal.retry_at), ("corp-api-minute", None));
}

#[test]
fn a_cost_of_nothing_passes_a_full_limit_and_leaves_no_key() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 1_000, 0);
    let before = meters.clone();
    let judgement = meters.judge(&call(1, 1, 1), &Cost::default(), 500, at(0));
    assert_eq!(judgement, Judgement::Admitted { binding: None, shadowed: Vec::new(), tried: None });
    meters.take(&call(9, 9, 9), &Cost::default(), at(0));
    assert_eq!(meters, before);
}

#[test]
fn an_admitted_call_is_told_the_limit_with_the_least_share_left_and_is_part_of_it() {
    let mut meters = meters();
    let binding = |judgement| match judgement {
        Judgement::Admitted { binding, .. } => binding.unwrap(),
        Judgement::Refused(refusal) => panic!("{refusal:?}"),
    };
    let first = binding(judge(&meters, &call(1, 1, 1), 700));
    assert_eq!((&*first.limit, first.used, first.remaining), ("corp-api-minute", 1, 999));
    assert_eq!((first.window, first.resets_at), (Window::Sliding { ms: MINUTE }, Some(61_200)));
    spend(&mut meters, &call(1, 1, 1), 1_000, 0);
    let hour = binding(judge(&meters, &call(1, 1, 1), 61_000));
    assert_eq!((&*hour.limit, hour.used, hour.remaining), ("corp-api-hour", 1_001, 28_999));
}

#[test]
fn a_limit_in_shadow_mode_reports_and_refuses_nothing() {
    let mut profile = shipped("qyh-2015", Operator::Corp).unwrap();
    profile.limits[0].mode = Mode::Shadow;
    let mut meters = Meters::new(&profile).unwrap();
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 1_500, 0), 1_500);
    let Judgement::Admitted { binding, shadowed, .. } = judge(&meters, &call(1, 1, 1), 0) else { panic!() };
    assert_eq!(&*binding.unwrap().limit, "ip-api-minute");
    let names: Vec<_> = shadowed.iter().map(|of| (&*of.reading.limit, of.reading.used)).collect();
    assert_eq!(names, [("corp-api-minute", 1_500)]);
}

#[test]
fn usage_shows_the_active_keys_in_order_and_what_is_in_flight() {
    let mut meters = meters();
    spend(&mut meters, &call(2, 1, 1), 2, 0);
    spend(&mut meters, &call(1, 7, 1), 1, 0);
    meters.take(&call(1, 7, 1), &Cost::CALL, at(0));
    let usage = |tick, filter: Filter<'_>| {
        let rows = meters.usage(at(tick), &filter, |_| 500, |_| "user/get");
        let row = |row: &Usage| {
            (row.reading.limit.to_string(), row.corp, row.egress_ip, row.reading.used, row.reading.in_flight)
        };
        rows.iter().map(row).collect::<Vec<_>>()
    };
    let minute = Filter { limit: Some("corp-api-minute"), ..Filter::default() };
    let row = |name: &str, corp, ip, used, in_flight| (name.to_owned(), corp, ip, used, in_flight);
    let (first, second) = ("corp-api-hour", "corp-api-minute");
    assert_eq!(usage(1, minute), [row(second, Some(1), None, 2, 1), row(second, Some(2), None, 2, 0)]);
    assert_eq!(usage(2 * MINUTE, minute), [row(second, Some(1), None, 1, 1)]);
    let corp = Filter { corp: Some(1), api: Some(7), ..Filter::default() };
    assert_eq!(usage(1, corp), [row(first, Some(1), None, 2, 1), row(second, Some(1), None, 2, 1)]);
    let names: Vec<String> = usage(1, Filter::default()).into_iter().map(|row| row.0).collect();
    assert!(names.is_sorted() && names.len() == 8);
}

#[test]
fn whoever_looks_at_usage_is_shown_no_more_than_they_want() {
    let mut meters = meters();
    for corp in 1..=50 {
        spend(&mut meters, &call(corp, 1, 1), 1, 0);
    }
    let all = meters.usage(at(1), &Filter::default(), |_| 500, |_| "user/get");
    let mut seen = Vec::new();
    let mut three = |usage: Usage| {
        seen.push(usage);
        if seen.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let stopped = meters.each_usage(at(1), &Filter::default(), |_| 500, |_| "user/get", &mut three);
    assert!(stopped.is_break());
    assert_eq!(seen, all[..3]);
}

#[test]
fn pruning_drops_every_idle_key_in_the_end_and_no_other() {
    let mut meters = meters();
    for corp in 1..=1_000 {
        spend(&mut meters, &call(corp, 1, corp), 1, 0);
    }
    meters.take(&call(500, 1, 500), &Cost::CALL, at(0));
    let empty_size = postcard::to_stdvec(&self::meters()).unwrap().len();
    (0..5).for_each(|_| meters.prune(at(2 * MINUTE)));
    assert_eq!(
        meters.usage(at(2 * MINUTE), &Filter::default(), |_| 500, |_| "user/get").len(),
        2 * 1_000 + 2
    );
    (0..10).for_each(|_| meters.prune(at(62 * MINUTE)));
    assert_eq!(used(&meters, &call(500, 1, 500), 62 * MINUTE), [1; 4]);
    meters.give_back(&call(500, 1, 500), &Cost::CALL);
    (0..2).for_each(|_| meters.prune(at(62 * MINUTE)));
    assert!(postcard::to_stdvec(&meters).unwrap().len() <= empty_size + 16);
}

#[test]
fn a_new_profile_judges_what_has_been_counted_under_the_old_one() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 900, 0);
    meters.set_cap("corp-api-hour", Some(1), Some(Cap::Fixed(950))).unwrap();
    let mut profile = shipped("qyh-2015", Operator::Provider).unwrap();
    profile.limits[0].cap = Cap::Fixed(2_000);
    profile.limits.swap(0, 1);
    profile.limits.swap(1, 3);
    meters.switch(&profile).unwrap();
    let readings = meters.readings(&call(1, 1, 1), &Cost::CALL, 500, at(0));
    let mut caps: Vec<(&str, u64, u64)> = readings.iter().map(|r| (&*r.limit, r.cap, r.used)).collect();
    caps.sort_unstable();
    let hour_and_minute = [("corp-api-hour", 950, 900), ("corp-api-minute", 2_000, 900)];
    let of_the_ip = [("ip-api-hour", 600_000, 900), ("ip-api-minute", 20_000, 900)];
    assert_eq!(caps, [hour_and_minute, of_the_ip].concat());
    assert_eq!(meters.limits().count(), 8);
    profile.name.clear();
    assert_eq!(
        (meters.switch(&profile), meters.profile()),
        (Err(ProfileError::Name(String::new())), "qyh-2015")
    );
}

#[test]
fn a_clock_that_goes_back_opens_no_window() {
    let mut meters = meters();
    spend(&mut meters, &call(1, 1, 1), 1_000, 0);
    spend(&mut meters, &call(1, 1, 1), 1_000, 61_000);
    assert_eq!(spend(&mut meters, &call(1, 1, 1), 1_000, 30_000), 0);
    assert_eq!(used(&meters, &call(1, 1, 1), 30_000), used(&meters, &call(1, 1, 1), 61_000));
}
