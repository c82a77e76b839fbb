use super::*;

const MEMBER: &str = "member | message/send | corp app member | calls | 60s | 3";

fn to(members: &[u64]) -> Facets<'_> {
    Facets { members, ..call("message/send") }
}

fn to_all() -> Facets<'static> {
    Facets { broadcast: true, ..call("message/send") }
}

fn of_members(meters: &Meters, tick: i64) -> Vec<(u64, Option<u64>)> {
    let rows = meters.usage(at(tick), &Filter::default(), |_| 500, |_| "a");
    rows.iter().map(|row| (row.reading.used, row.members)).collect()
}

#[test]
fn a_message_counts_once_for_each_member_that_it_goes_to() {
    let mut meters = meters(&[MEMBER]);
    assert_eq!(spend(&mut meters, &to(&[10, 11]), 2, at(0)), 2);
    assert_eq!(spend(&mut meters, &to(&[10]), 2, at(0)), 1);
    assert_eq!(spend(&mut meters, &to(&[11, 12]), 9, at(0)), 1, "member 11 has room for one more");
    assert_eq!([10, 11, 12, 13].map(|member| used(&meters, "member", &to(&[member]), at(0))), [3, 3, 1, 0]);
    let other_app = Facets { app: 9, ..to(&[10]) };
    assert!(judge(&meters, &other_app, at(0)).is_admitted());
    assert_eq!(of_members(&meters, 0), [(3, Some(3))], "the fullest of three");
}

#[test]
fn a_message_to_one_full_member_is_refused_as_a_whole_and_counts_for_none() {
    let mut meters = meters(&[MEMBER]);
    spend(&mut meters, &to(&[10]), 3, at(0));
    let refusal = refusal(judge(&meters, &to(&[9, 10, 11]), at(100)));
    assert_eq!(
        (&*refusal.reading.limit, refusal.reading.used, refusal.retry_at),
        ("member", 3, Some(60_600))
    );
    assert_eq!([9, 11].map(|member| used(&meters, "member", &to(&[member]), at(0))), [0, 0]);
}

#[test]
fn a_broadcast_counts_for_every_member_and_is_held_back_by_the_fullest() {
    let mut meters = meters(&[MEMBER]);
    assert_eq!(spend(&mut meters, &to_all(), 1, at(0)), 1);
    assert_eq!(used(&meters, "member", &to(&[77]), at(0)), 1);
    assert_eq!(spend(&mut meters, &to(&[10]), 9, at(30_000)), 2);
    let refused = refusal(judge(&meters, &to_all(), at(40_000)));
    assert_eq!(
        (refused.reading.used, refused.retry_at),
        (3, Some(60_600)),
        "when the first broadcast has gone"
    );
    assert_eq!(spend(&mut meters, &to(&[11]), 9, at(40_000)), 2, "another member has room");
    assert_eq!(spend(&mut meters, &to_all(), 9, at(60_600)), 1);
    assert_eq!(refusal(judge(&meters, &to_all(), at(60_600))).retry_at, Some(100_200), "member 11 has 3");
    let elsewhere = Facets { app: 9, ..to_all() };
    assert!(judge(&meters, &elsewhere, at(60_600)).is_admitted());
}

#[test]
fn members_that_are_named_beside_a_broadcast_get_one_message() {
    let mut meters = meters(&[MEMBER]);
    let both = Facets { broadcast: true, ..to(&[10, 11]) };
    assert_eq!(spend(&mut meters, &both, 9, at(0)), 3);
    assert_eq!(used(&meters, "member", &to(&[10]), at(0)), 3);
}

#[test]
fn a_call_to_nobody_is_no_matter_of_a_limit_per_member() {
    let mut meters = meters(&[MEMBER]);
    assert_eq!(spend(&mut meters, &call("message/send"), 9, at(0)), 9);
    assert_eq!(of_members(&meters, 0), []);
}

#[test]
fn members_are_asked_for_only_where_a_limit_tells_them_apart() {
    for (name, apis) in [
        ("qyh-2015", &[][..]),
        ("wecom-2020", &["message/send"][..]),
        ("wecom-2023", &["message/send", "appchat/send"][..]),
    ] {
        let meters = Meters::new(&shipped(name, Operator::Corp).unwrap()).unwrap();
        for api in ["message/send", "appchat/send", "user/get", "wedrive/file_list"] {
            assert_eq!(meters.tells_members_apart(api), apis.contains(&api), "{name} {api}");
        }
    }
}

#[test]
fn a_member_whose_hash_is_zero_is_not_everybody() {
    let mut meters = meters(&[MEMBER]);
    spend(&mut meters, &to(&[0]), 3, at(0));
    assert_eq!([0, 5].map(|member| used(&meters, "member", &to(&[member]), at(0))), [3, 0]);
}

#[test]
fn what_is_given_back_or_settles_later_is_taken_from_the_same_members() {
    let mut meters = meters(&[MEMBER]);
    let before = meters.clone();
    assert!(take(&mut meters, &to(&[10, 11]), at(0)) && take(&mut meters, &to_all(), at(0)));
    assert_eq!(used(&meters, "member", &to(&[11]), at(0)), 2);
    meters.give_back(&to_all(), &Cost::CALL);
    post(&mut meters, &to(&[10, 11]), at(5), true);
    assert_eq!([10, 11, 12].map(|member| used(&meters, "member", &to(&[member]), at(5))), [1, 1, 0]);
    let size = |meters: &Meters| postcard::to_stdvec(meters).unwrap().len();
    assert!(size(&meters) > size(&before) + 20);
    for _ in 0..3 {
        meters.prune(at(DAY));
    }
    assert!(size(&meters) < size(&before) + 20, "nothing is left of them");
}

#[test]
fn a_day_adds_up_per_day_for_a_member_and_for_everybody() {
    let mut meters = meters(&["daily | message/send | app member | calls | day | 3"]);
    spend(&mut meters, &to_all(), 2, at(MIDNIGHT - HOUR));
    spend(&mut meters, &to(&[10]), 2, at(MIDNIGHT + HOUR));
    assert_eq!(used(&meters, "daily", &to(&[10]), at(MIDNIGHT + HOUR)), 2, "not the fullest day of each");
    assert_eq!(spend(&mut meters, &to_all(), 9, at(MIDNIGHT + 2 * HOUR)), 1);
    assert_eq!(
        refusal(judge(&meters, &to_all(), at(MIDNIGHT + 2 * HOUR))).retry_at,
        Some(MIDNIGHT + DAY + MINUTE)
    );
}

#[test]
fn idle_members_go_as_fast_as_others_come() {
    let mut meters = meters(&["member | message/send | app member | calls | 60s | 3"]);
    let empty = postcard::to_stdvec(&meters).unwrap().len();
    for message in 0..300_u64 {
        let members: Vec<u64> = (1..=1_000).map(|member| message * 1_000 + member).collect();
        assert_eq!(spend(&mut meters, &to(&members), 1, at(message as i64 * 10_000)), 1);
    }
    let keys = (postcard::to_stdvec(&meters).unwrap().len() - empty) / 20;
    assert!(
        keys < 30_000,
        "300,000 members got a message, seven thousand of them within the last minute: {keys}"
    );
}

#[test]
fn each_robot_has_a_counter_of_its_own_whoever_calls() {
    let mut meters = Meters::new(&shipped("wecom-2023", Operator::Corp).unwrap()).unwrap();
    let robot = |chat| Facets { chat, ..call("webhook/send") };
    assert_eq!(spend(&mut meters, &robot(70), 99, at(0)), 20);
    let other_corp = Facets { corp: 9, app: 9, api_key: 9, ..robot(70) };
    assert_eq!(&*refusal(judge(&meters, &other_corp, at(0))).reading.limit, "robot-minute");
    assert_eq!(spend(&mut meters, &robot(71), 1, at(0)), 1);
    assert_eq!(spend(&mut meters, &robot(0), 99, at(0)), 99, "no robot is known");
    let rows =
        meters.usage(at(0), &Filter { limit: Some("robot-minute"), ..Filter::default() }, |_| 500, |_| "a");
    assert_eq!(
        rows.iter().map(|row| (row.chat, row.reading.used)).collect::<Vec<_>>(),
        [(Some(70), 20), (Some(71), 1)]
    );
}
