use super::*;

#[test]
fn an_api_that_is_excepted_or_not_listed_does_not_count() {
    let mut meters = meters(&[
        "base | * | corp | calls | 60s | 2 | except = [\"message/*\"]",
        "chats | appchat/* | corp | calls | 60s | 3",
    ]);
    assert_eq!(spend(&mut meters, &call("message/send"), 9, at(0)), 9);
    assert_eq!(spend(&mut meters, &call("user/get"), 9, at(0)), 2);
    assert!(!judge(&meters, &call("appchat/send"), at(0)).is_admitted());
    let readings = |name| meters.readings(&call(name), &Cost::CALL, 500, at(0)).len();
    assert_eq!(["message/send", "messages", "appchat/", "appchat"].map(readings), [0, 1, 2, 1]);
}

#[test]
fn a_call_that_turned_out_good_is_free_where_the_limit_says_so() {
    for scope in ["corp", "corp api"] {
        let mut meters =
            meters(&[&format!("base | * | {scope} | calls | 60s | 3 | free_if_ok = [\"login\"]")]);
        let login = Facets { api: 8, ..call("login") };
        assert_eq!(spend(&mut meters, &login, 9, at(0)), 9);
        assert!(take(&mut meters, &login, at(0)) && take(&mut meters, &login, at(0)));
        assert_eq!(used(&meters, "base", &login, at(0)), 2, "nobody knows yet");
        post(&mut meters, &login, at(0), true);
        post(&mut meters, &login, at(0), false);
        assert_eq!(used(&meters, "base", &login, at(0)), 1);
        let left = if scope == "corp" { 2 } else { 3 };
        assert_eq!(spend(&mut meters, &call("other"), 9, at(0)), left, "a good call of another API counts");
    }
}

#[test]
fn calls_in_flight_that_may_prove_free_hold_others_back_for_a_second_only() {
    for window in ["60s", "day"] {
        let mut meters =
            meters(&[&format!("base | login | corp | calls | {window} | 2 | free_if_ok = [\"login\"]")]);
        let login = call("login");
        assert!(take(&mut meters, &login, at(0)) && take(&mut meters, &login, at(0)));
        assert_eq!(refusal(judge(&meters, &login, at(5))).retry_at, Some(1_005), "{window}");
        for _ in 0..2 {
            post(&mut meters, &login, at(6), false);
        }
        assert!(refusal(judge(&meters, &login, at(7))).retry_at > Some(60_000), "{window}");
    }
}

#[test]
fn wrong_answers_of_getuserid_are_counted_against_the_size_of_the_corp() {
    let mut meters = Meters::new(&shipped("wecom-2023", Operator::Corp).unwrap()).unwrap();
    let lookup = call("user/getuserid");
    for wrong in 0..100 {
        for ok in [true, false] {
            assert!(take(&mut meters, &lookup, at(MIDNIGHT + wrong)));
            post(&mut meters, &lookup, at(MIDNIGHT + wrong), ok);
        }
    }
    let refusal = refusal(judge(&meters, &lookup, at(MIDNIGHT + HOUR)));
    assert_eq!((&*refusal.reading.limit, refusal.reading.cap), ("getuserid-wrong-day", 100));
}

#[test]
fn all_limits_in_shadow_mode_that_would_have_refused_are_reported() {
    let mut meters = meters(&[
        "first | * | corp | calls | 60s | 1 | mode = \"shadow\"",
        "second | * | app member | calls | 1h | 1 | mode = \"shadow\"",
        "third | * | corp | calls | 60s | 9 | mode = \"shadow\"",
        "fourth | * | corp | calls | 1h | 9",
    ]);
    let message = Facets { members: &[10, 11], ..call("a") };
    assert_eq!(spend(&mut meters, &message, 5, at(0)), 5);
    let Judgement::Admitted { binding, shadowed, tried } = judge(&meters, &message, at(0)) else { panic!() };
    assert_eq!(&*binding.unwrap().limit, "fourth");
    let mut names: Vec<_> = shadowed.iter().map(|of| (&*of.reading.limit, of.reading.used)).collect();
    names.sort_unstable();
    assert_eq!(names, [("first", 5), ("second", 5)], "each once");
    let tried = tried.unwrap();
    assert_eq!((&*tried.limit, tried.used), ("third", 6), "the fullest of those that let it pass");
}

#[test]
fn caps_per_account_follow_the_corp() {
    let mut meters = meters(&["few | * | corp | calls | day | 20% x account_cap"]);
    let refused = meters.judge(&call("a"), &Cost { calls: 2, ..Cost::default() }, 9, at(0));
    assert_eq!((refusal(refused.clone()).reading.cap, refusal(refused).retry_at), (1, None));
    for (account_cap, cap) in [(4, 1), (1, 1), (0, 0)] {
        let refused = meters.judge(&call("a"), &Cost { calls: 2, ..Cost::default() }, account_cap, at(0));
        assert_eq!(refusal(refused).reading.cap, cap, "20 % of {account_cap}");
    }
    meters.set_cap("few", None, Some(Cap::PerAccount(2))).unwrap();
    assert!(meters.judge(&call("a"), &Cost { calls: 18, ..Cost::default() }, 9, at(0)).is_admitted());
}

#[test]
fn an_own_rule_counts_its_api_key_alone_from_when_it_is_set() {
    let mut meters = meters(&["base | * | corp api | calls | 60s | 10"]);
    spend(&mut meters, &call("a"), 3, at(0));
    meters.set_own(5, "base", Some(Own { cap: Some(2), max_share_percent: None })).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 2);
    let refused = refusal(judge(&meters, &call("a"), at(0)));
    let reading = &refused.reading;
    assert_eq!((&*reading.limit, reading.rule, reading.used, reading.cap), ("base", Rule::Own, 2, 2));
    assert_eq!(refused.retry_at, Some(60_600));
    let other_key = Facets { api_key: 6, ..call("a") };
    assert_eq!(spend(&mut meters, &other_key, 9, at(0)), 5, "what is left of the limit");
    let other_api = Facets { api: 9, ..call("b") };
    assert_eq!(spend(&mut meters, &other_api, 9, at(0)), 2, "within each key of the limit");
    meters.set_own(5, "base", Some(Own { cap: Some(4), max_share_percent: None })).unwrap();
    assert_eq!(spend(&mut meters, &other_api, 9, at(0)), 2, "a changed rule goes on counting");
    meters.set_own(5, "base", None).unwrap();
    meters.set_own(5, "base", Some(Own { cap: Some(1), max_share_percent: None })).unwrap();
    assert_eq!(spend(&mut meters, &other_api, 9, at(0)), 1, "a new one begins");
    let rows: Vec<_> = usage(&meters, at(0)).into_iter().map(|row| (row.1, row.2, row.3)).collect();
    assert_eq!(rows, [(10, 10, Rule::Limit), (5, 10, Rule::Limit), (1, 1, Rule::Own)]);
}

#[test]
fn a_share_is_of_the_cap_that_holds() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 10"]);
    let share = |percent| Some(Own { cap: Some(8), max_share_percent: Some(percent) });
    meters.set_own(5, "base", share(30)).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 3);
    assert_eq!(refusal(judge(&meters, &call("a"), at(0))).reading.rule, Rule::Share);
    meters.set_cap("base", None, Some(Cap::Fixed(19))).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 2, "30 % of 19 is 5");
    meters.set_learned("base", &call(""), Some(10)).unwrap();
    assert_eq!(refusal(judge(&meters, &call("a"), at(0))).reading.cap, 3);
    meters.set_own(5, "base", share(100)).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 3, "its own 8");
    assert_eq!(refusal(judge(&meters, &call("a"), at(0))).reading.rule, Rule::Own);
}

#[test]
fn an_own_rule_of_a_limit_per_member_is_per_member() {
    let mut meters = meters(&["member | * | app member | calls | 60s | 10"]);
    meters.set_own(5, "member", Some(Own { cap: Some(2), max_share_percent: None })).unwrap();
    let to = |members: &'static [u64]| Facets { members, ..call("a") };
    assert_eq!(spend(&mut meters, &to(&[1, 2]), 1, at(0)), 1);
    assert_eq!(spend(&mut meters, &to(&[2, 3]), 9, at(0)), 1);
    let everybody = Facets { broadcast: true, ..call("a") };
    assert_eq!(refusal(judge(&meters, &everybody, at(0))).reading.rule, Rule::Own);
    assert_eq!(spend(&mut meters, &to(&[4]), 9, at(0)), 2);
    assert_eq!(spend(&mut meters, &Facets { api_key: 6, ..everybody }, 9, at(0)), 8);
}

#[test]
fn calls_in_flight_enter_the_counter_of_a_new_own_rule_and_leave_it() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 10"]);
    assert!(take(&mut meters, &call("a"), at(0)) && take(&mut meters, &call("a"), at(0)));
    for _ in 0..2 {
        meters.give_back(&call("a"), &Cost::CALL);
    }
    meters.set_own(5, "base", Some(Own { cap: Some(3), max_share_percent: None })).unwrap();
    for _ in 0..2 {
        meters.take(&call("a"), &Cost::CALL, at(0));
    }
    assert!(take(&mut meters, &call("a"), at(0)));
    assert!(!take(&mut meters, &call("a"), at(0)));
    for _ in 0..3 {
        meters.give_back(&call("a"), &Cost::CALL);
    }
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 3);
}

#[test]
fn the_own_rules_of_a_call_are_read_apart_from_its_limits() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 10", "hour | * | corp | calls | 1h | 99"]);
    let share = Own { cap: None, max_share_percent: Some(50) };
    meters.set_own(5, "base", Some(share)).unwrap();
    assert!(take(&mut meters, &call("a"), at(0)));
    spend(&mut meters, &call("a"), 2, at(0));
    let shown = |readings: Vec<Reading>| -> Vec<_> {
        readings
            .into_iter()
            .map(|it| (it.limit.to_string(), it.rule, it.used, it.in_flight, it.cap))
            .collect()
    };
    let own = |key| meters.own_readings(&Facets { api_key: key, ..call("a") }, &Cost::CALL, 500, at(0));
    assert_eq!(shown(own(5)), [("base".to_owned(), Rule::Share, 3, 1, 5)]);
    assert_eq!(shown(own(6)), []);
    assert_eq!(meters.readings(&call("a"), &Cost::CALL, 500, at(0)).len(), 2);
    assert_eq!(meters.owns_of(5).collect::<Vec<_>>(), [("base", share)]);
    assert_eq!(meters.owns_of(6).count(), 0);
}

#[test]
fn an_own_rule_holds_also_on_a_limit_in_shadow_mode() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 1 | mode = \"shadow\""]);
    meters.set_own(5, "base", Some(Own { cap: Some(3), max_share_percent: None })).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 3);
}

#[test]
fn what_is_reserved_is_for_critical_calls() {
    let mut meters =
        meters(&["base | * | corp | calls | 60s | 15", "other | * | corp api | calls | 1h | 100"]);
    meters.set_reserve(None, Some(10)).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 99, at(0)), 13, "15 less 1.5, rounded up");
    let refused = refusal(judge(&meters, &call("a"), at(0)));
    assert_eq!((refused.reading.rule, refused.reading.used, refused.reading.cap), (Rule::Reserve, 13, 13));
    assert_eq!(refused.retry_at, Some(60_600));
    let critical = Facets { critical: true, ..call("a") };
    assert_eq!(spend(&mut meters, &critical, 99, at(0)), 2);
    let of_critical = refusal(judge(&meters, &critical, at(0)));
    assert_eq!((of_critical.reading.rule, of_critical.reading.cap), (Rule::Limit, 15));
    let full = refusal(judge(&meters, &call("a"), at(0)));
    assert_eq!(
        (full.reading.rule, full.reading.used, full.reading.cap),
        (Rule::Limit, 15, 15),
        "it is all used"
    );
    meters.set_reserve(Some("base"), Some(0)).unwrap();
    meters.set_cap("base", None, Some(Cap::Fixed(16))).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 99, at(0)), 1, "its own number wins");
    meters.set_reserve(None, None).unwrap();
    meters.set_reserve(Some("base"), Some(100)).unwrap();
    assert_eq!(refusal(judge(&meters, &call("b"), at(MINUTE * 2))).retry_at, None, "nothing is left for it");
}

#[test]
fn a_reserve_of_a_cap_that_can_not_be_divided_leaves_something_for_others() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 1", "none | b | corp | calls | 60s | 0"]);
    meters.set_reserve(None, Some(10)).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 1);
    assert!(!judge(&meters, &call("b"), at(MINUTE * 2)).is_admitted());
}

#[test]
fn an_admitted_call_is_told_what_is_left_for_such_calls() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 100"]);
    meters.set_reserve(None, Some(20)).unwrap();
    let Judgement::Admitted { binding, .. } = judge(&meters, &call("a"), at(0)) else { panic!() };
    let binding = binding.unwrap();
    assert_eq!((binding.rule, binding.cap, binding.remaining, binding.used), (Rule::Reserve, 80, 79, 1));
}

#[test]
fn a_learned_cap_lowers_one_key_and_can_be_taken_back() {
    let mut meters = meters(&["base | * | corp api | calls | 60s | 10"]);
    meters.set_learned("base", &call(""), Some(2)).unwrap();
    let shown = [("base".to_owned(), 0, 2, Rule::Learned)];
    assert_eq!(usage(&meters, at(0)), shown, "shown before anything is used");
    assert_eq!(spend(&mut meters, &call("a"), 9, at(0)), 2);
    let refused = refusal(judge(&meters, &call("a"), at(0)));
    assert_eq!((refused.reading.rule, refused.reading.cap), (Rule::Learned, 2));
    let other = Facets { corp: 9, ..call("a") };
    assert_eq!(spend(&mut meters, &other, 99, at(0)), 10);
    meters.set_learned("base", &other, Some(11)).unwrap();
    assert_eq!(refusal(judge(&meters, &other, at(0))).reading.rule, Rule::Limit, "it only lowers");
    assert_eq!(usage(&meters, at(0))[0], ("base".to_owned(), 2, 2, Rule::Learned));
    assert_eq!(
        (meters.learned("base", &call("")), meters.cap_of("base", &call(""), 500)),
        (Some(2), Some(2))
    );
    assert_eq!((meters.learned("base", &other), meters.cap_of("base", &other, 500)), (Some(11), Some(10)));
    assert_eq!((meters.learned("none", &other), meters.cap_of("none", &other, 500)), (None, None));
    meters.set_learned("base", &call(""), None).unwrap();
    assert_eq!(spend(&mut meters, &call("a"), 99, at(0)), 8);
}

#[test]
fn learned_caps_do_not_grow_without_end() {
    let mut meters = meters(&["base | * | corp | calls | 60s | 10"]);
    for corp in 1..=MAX_LEARNED as u64 {
        meters.set_learned("base", &Facets { corp, ..call("") }, Some(1)).unwrap();
    }
    let one_more = Facets { corp: u64::MAX, ..call("") };
    assert_eq!(
        meters.set_learned("base", &one_more, Some(1)),
        Err(OverrideError::TooManyLearned("base".to_owned()))
    );
    assert_eq!(meters.set_learned("base", &call(""), Some(2)), Ok(()), "one that is there can change");
}

#[test]
fn a_setting_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut meters =
        meters(&["base | * | corp | calls | 60s | 10", "member | * | app member | calls | 60s | 10"]);
    let before = meters.clone();
    let own = |cap, max_share_percent| Some(Own { cap, max_share_percent });
    let unknown = OverrideError::UnknownLimit("none".to_owned());
    assert_eq!(meters.set_own(5, "base", own(None, None)), Err(OverrideError::NoRule));
    assert_eq!(meters.set_own(5, "base", own(None, Some(101))), Err(OverrideError::Percent));
    assert_eq!(meters.set_own(5, "none", own(Some(1), None)), Err(unknown.clone()));
    assert_eq!(meters.set_own(5, "none", None), Ok(()));
    assert_eq!(meters.set_reserve(Some("none"), Some(1)), Err(unknown.clone()));
    assert_eq!(meters.set_reserve(None, Some(101)), Err(OverrideError::Percent));
    assert_eq!(meters.set_learned("none", &call(""), Some(1)), Err(unknown));
    let member = Facets { members: &[1], ..call("") };
    assert_eq!(
        meters.set_learned("member", &member, Some(1)),
        Err(OverrideError::PerMember("member".to_owned()))
    );
    assert_eq!(meters, before);
}

#[test]
fn what_is_declared_counts_where_all_dimensions_are_given() {
    let mut meters = meters(&[
        "by-corp | user/create | corp | accounts | month | 3 x account_cap",
        "by-app | user/create | corp app | accounts | month | 100",
        "never-called | | corp | accounts | total | 100",
        "calls | * | corp | calls | 1h | 100",
    ]);
    let accounts = |accounts| Cost { accounts, calls: 4, ..Cost::default() };
    let corp = Facets { corp: 1, ..Facets::default() };
    meters.declare(&corp, &accounts(7), Declared::Used, at(MIDNIGHT));
    meters.declare(&Facets { app: 2, ..corp }, &accounts(1), Declared::Used, at(MIDNIGHT));
    let by_name = |meters: &Meters| -> Vec<_> {
        usage(meters, at(MIDNIGHT)).into_iter().map(|row| (row.0, row.1)).collect()
    };
    let row = |name: &str, used| (name.to_owned(), used);
    assert_eq!(by_name(&meters), [row("by-app", 1), row("by-corp", 8), row("never-called", 8)]);
    meters.declare(&corp, &accounts(6), Declared::Corrected, at(MIDNIGHT));
    assert_eq!(by_name(&meters), [row("by-app", 1), row("by-corp", 8), row("never-called", 2)]);
    meters.declare(&corp, &accounts(9), Declared::Corrected, at(MIDNIGHT));
    assert_eq!(by_name(&meters)[2..], []);
}

#[test]
fn a_declaration_with_an_api_counts_where_a_call_of_it_would() {
    let mut meters = Meters::new(&shipped("qyh-2015", Operator::Corp).unwrap()).unwrap();
    let seen = Facets { corp: 1, api: 3, api_name: "user/get", ..Facets::default() };
    meters.declare(&seen, &Cost { calls: 40, ..Cost::default() }, Declared::Used, at(0));
    assert_eq!(used(&meters, "corp-api-hour", &call("user/get"), at(0)), 40);
    assert_eq!(used(&meters, "ip-api-hour", &call("user/get"), at(0)), 0, "the IP is not known");
}
