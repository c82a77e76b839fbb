use super::*;

const NAMES: [&str; 8] = [
    "user/get",
    "message/send",
    "auth/getuserinfo",
    "get_jsapi_ticket",
    "media/uploadimg",
    "appchat/send",
    "webhook/send",
    "user/create",
];

fn facets(i: usize) -> Facets<'static> {
    let api = i % NAMES.len();
    Facets { api: api as u64 + 1, chat: (i % 2) as u64 * 7, ..call(NAMES[api]) }
}

fn cost(i: usize) -> Cost {
    Cost { person_times: (i % 3) as u64, accounts: (i % 2) as u64, ..Cost::CALL }
}

/// Switches as the ledger does: what is in flight leaves before and enters again after.
fn switch(meters: &mut Meters, profile: &Profile, in_flight: &[usize], now: Moment) {
    for i in in_flight {
        meters.give_back(&facets(*i), &cost(*i));
    }
    meters.switch(profile).unwrap();
    for i in in_flight {
        meters.take(&facets(*i), &cost(*i), now);
    }
}

fn all_usage(meters: &Meters, now: Moment) -> Vec<Usage> {
    let mut rows = meters.usage(now, &Filter::default(), |_| 500, |api| NAMES[api as usize - 1]);
    // What is counted per member is known only from when a profile asks for it.
    rows.retain(|row| row.members.is_none());
    rows
}

#[test]
fn after_any_switches_between_shipped_profiles_nothing_is_forgotten() {
    let shipped = |i: usize| {
        let operator = if i.is_multiple_of(2) { Operator::Corp } else { Operator::Provider };
        shipped(shipped_names()[i % 3], operator).unwrap()
    };
    let mut switched = Meters::new(&shipped(0)).unwrap();
    let mut others: Vec<Meters> = (0..3).map(|i| Meters::new(&shipped(i)).unwrap()).collect();
    let mut in_flight = Vec::new();
    for i in 0..400_usize {
        let now = at(MIDNIGHT - 2 * HOUR + i as i64 * 30_000);
        if i % 7 == 3 {
            switch(&mut switched, &shipped(i / 7), &in_flight, now);
        }
        if i % 50 == 9 {
            switched = postcard::from_bytes(&postcard::to_stdvec(&switched).unwrap()).unwrap();
        }
        for meters in others.iter_mut().chain([&mut switched]) {
            meters.take(&facets(i), &cost(i), now);
            if i >= 5 {
                let (earlier, ok) = (i - 5, i % 3 == 0);
                meters.settle(&facets(earlier), &cost(earlier), &cost(earlier), now, ok);
            }
            meters.prune(now);
        }
        in_flight = (i.saturating_sub(4)..=i).collect();
        let active = others.iter().find(|meters| meters.profile() == switched.profile()).unwrap();
        let (mut expected, mut seen) = (all_usage(active, now), all_usage(&switched, now));
        // An operator has other caps.
        for row in expected.iter_mut().chain(&mut seen) {
            (row.reading.cap, row.reading.remaining) = (0, 0);
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_profile_of_ones_own_takes_over_what_counts_alike() {
    let mut meters = Meters::new(&shipped("qyh-2015", Operator::Corp).unwrap()).unwrap();
    (0..16).for_each(|i| assert_eq!(spend(&mut meters, &facets(i), 1, at(MIDNIGHT)), 1));
    let own = profile(&[
        "minute | user/get | corp api | calls | 60s | 50",
        "uploads | media/uploadimg | corp | calls | day | 50",
        "by-key | * | api_key | calls | 60s | 50",
    ]);
    switch(&mut meters, &own, &[], at(MIDNIGHT));
    let seen = |name: &str, i: usize| used(&meters, name, &facets(i), at(MIDNIGHT));
    assert_eq!((seen("minute", 0), seen("uploads", 4), seen("by-key", 0)), (2, 2, 0));
    spend(&mut meters, &facets(0), 1, at(MIDNIGHT));
    switch(&mut meters, &shipped("wecom-2020", Operator::Corp).unwrap(), &[], at(MIDNIGHT));
    assert_eq!(used(&meters, "corp-api-hour", &facets(0), at(MIDNIGHT)), 3);
}

#[test]
fn another_time_zone_has_other_days() {
    let line = ["uploads | media/uploadimg | corp | calls | day | 50"];
    let mut meters = meters(&line);
    spend(&mut meters, &facets(4), 3, at(MIDNIGHT + HOUR));
    let tokyo = Profile { zone_offset_minutes: 540, ..profile(&line) };
    meters.switch(&tokyo).unwrap();
    assert_eq!(used(&meters, "uploads", &facets(4), at(MIDNIGHT + HOUR)), 0);
    spend(&mut meters, &facets(4), 2, at(MIDNIGHT + HOUR));
    assert_eq!(
        used(&meters, "uploads", &facets(4), at(MIDNIGHT + 23 * HOUR + MINUTE)),
        0,
        "midnight in Tokyo"
    );
}

#[test]
fn settings_and_own_counts_wait_for_a_profile_that_has_their_limit() {
    let wide = shipped("wecom-2023", Operator::Corp).unwrap();
    let mut meters = Meters::new(&wide).unwrap();
    let image = facets(4);
    meters.set_own(5, "uploadimg-month", Some(Own { cap: Some(9), max_share_percent: None })).unwrap();
    meters.set_reserve(Some("uploadimg-month"), Some(50)).unwrap();
    meters.set_learned("uploadimg-month", &image, Some(100)).unwrap();
    spend(&mut meters, &image, 4, at(MIDNIGHT));
    switch(&mut meters, &shipped("qyh-2015", Operator::Corp).unwrap(), &[], at(MIDNIGHT));
    spend(&mut meters, &image, 3, at(MIDNIGHT));
    meters.set_own(5, "uploadimg-month", Some(Own { cap: Some(8), max_share_percent: None })).unwrap();
    assert_eq!(meters.learned("uploadimg-month", &image), Some(100), "also while no limit has it");
    let reloaded: Meters = postcard::from_bytes(&postcard::to_stdvec(&meters).unwrap()).unwrap();
    assert_eq!(reloaded, meters);
    switch(&mut meters, &wide, &[], at(MIDNIGHT));
    let filter = Filter { limit: Some("uploadimg-month"), ..Filter::default() };
    let rows = meters.usage(at(MIDNIGHT), &filter, |_| 500, |_| "a");
    let rows: Vec<_> = rows.iter().map(|row| (row.reading.rule, row.reading.used, row.reading.cap)).collect();
    assert_eq!(rows, [(Rule::Learned, 7, 100), (Rule::Own, 7, 8)]);
    assert_eq!(spend(&mut meters, &Facets { api_key: 6, ..image }, 99, at(MIDNIGHT)), 43, "half is reserved");
    meters.switch(&shipped("qyh-2015", Operator::Corp).unwrap()).unwrap();
    meters.set_learned("uploadimg-month", &image, None).unwrap();
    meters.set_reserve(Some("uploadimg-month"), None).unwrap();
    meters.set_own(5, "uploadimg-month", None).unwrap();
    meters.switch(&wide).unwrap();
    assert_eq!(spend(&mut meters, &image, 99, at(MIDNIGHT)), 99);
}
