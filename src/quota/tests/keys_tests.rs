//! The bound on all keys.

use super::*;
use crate::quota::KEYS;

const MEMBER: &str = "member | message/send | corp app member | calls | 60s | 3";
const CHAT: &str = "chat | appchat/send | chat | calls | total | 9";

/// The keys that a call takes of the profiles that ship are in it too, whatever the profile in force.
fn bounded(lines: &[&str], more: usize, first: &Facets<'_>) -> Meters {
    let mut meters = meters(lines);
    assert_eq!(spend(&mut meters, first, 1, at(0)), 1);
    let keys = meters.keys;
    assert!(keys > 0);
    meters.with_keys_max(keys + more)
}

fn to(members: &[u64]) -> Facets<'_> {
    Facets { members, ..call("message/send") }
}

#[test]
fn without_room_a_call_that_needs_a_new_key_is_refused_and_known_keys_go_on() {
    let mut meters = bounded(&[MEMBER], 2, &to(&[1]));
    let refused = refusal(judge(&meters, &to(&[2, 3, 4]), at(5)));
    assert_eq!((&*refused.reading.limit, refused.needed, refused.retry_at), (KEYS, 3, Some(60_005)));
    assert_eq!(refused.reading.cap - refused.reading.used, 2);
    assert_eq!(spend(&mut meters, &to(&[1, 2, 3]), 1, at(5)), 1, "room for two more");
    assert_eq!(&*refusal(judge(&meters, &to(&[4]), at(5))).reading.limit, KEYS);
    assert_eq!(spend(&mut meters, &to(&[2, 3]), 9, at(5)), 2, "as many as the limit lets through");
    assert_eq!(&*refusal(judge(&meters, &to(&[2, 4]), at(5))).reading.limit, "member", "a limit says more");
}

#[test]
fn keys_that_have_become_idle_make_room_without_any_call() {
    let mut meters = bounded(&[MEMBER], 0, &to(&[1]));
    assert!(!judge(&meters, &to(&[2]), at(DAY * 40)).is_admitted());
    // What the shipped profiles count of the first call lasts up to a month.
    meters.make_room(at(DAY * 40));
    assert_eq!(meters.keys, 0);
    assert!(judge(&meters, &to(&[2]), at(DAY * 40)).is_admitted());
}

#[test]
fn idle_keys_are_looked_for_once_a_second_at_most_however_many_are_refused() {
    let mut meters = bounded(&[MEMBER], 0, &to(&[1]));
    let looks = [0, 500, 999, 1_000, 1_500, 2_000].map(|ms| {
        meters.make_room(at(ms));
        meters.made_room
    });
    assert_eq!(looks, [0, 0, 0, 1_000, 1_000, 2_000]);
}

#[test]
fn the_keys_of_a_total_stay_and_only_these_are_refused() {
    let chat = |chat| Facets { chat, ..call("appchat/send") };
    let mut meters = bounded(&[CHAT], 1, &chat(70));
    assert_eq!(spend(&mut meters, &chat(71), 1, at(0)), 1);
    assert_eq!(&*refusal(judge(&meters, &chat(72), at(0))).reading.limit, KEYS);
    meters.make_room(at(DAY * 400));
    assert_eq!(spend(&mut meters, &chat(71), 1, at(DAY * 400)), 1);
}

#[test]
fn a_declaration_needs_room_as_well() {
    let article = |chat| Facets { corp: 1, chat, ..Facets::default() };
    let reads = Cost { reads: 5, ..Cost::default() };
    let mut meters = meters(&["reads | | corp chat | reads | total | 9"]);
    meters.declare(&article(70), &reads, Declared::Used, at(0));
    let meters = {
        let keys = meters.keys;
        meters.with_keys_max(keys)
    };
    assert!(meters.has_room_to_declare(&article(70), &reads));
    assert!(!meters.has_room_to_declare(&article(71), &reads));
}

#[test]
fn from_nine_tenths_on_the_keys_are_many() {
    let meters = bounded(&[MEMBER], 0, &to(&[1]));
    let keys = meters.keys;
    assert_eq!(meters.clone().with_keys_max(keys * 100 / 90 + 100).many_keys(), None);
    assert_eq!(meters.with_keys_max(keys).many_keys(), Some((keys, keys)));
}

#[test]
fn the_keys_are_counted_whatever_happens_to_them() {
    let mut meters = meters(&[MEMBER, CHAT]);
    let recount = |meters: &Meters| meters.tracks.iter().map(|track| track.rows.len()).sum::<usize>();
    let members: Vec<u64> = (1..=500).collect();
    assert!(take(&mut meters, &to(&members), at(0)));
    assert_eq!(meters.keys, recount(&meters));
    post(&mut meters, &to(&members), at(9), true);
    assert_eq!(spend(&mut meters, &to(&[501, 502]), 1, at(100_000)), 1);
    assert_eq!(meters.keys, recount(&meters));
    meters.prune(at(100_000));
    assert!(meters.keys < 500, "most are idle");
    assert_eq!(meters.keys, recount(&meters));
    meters.switch(&profile(&[CHAT])).unwrap();
    assert_eq!(meters.keys, recount(&meters));
}

#[test]
fn a_profile_that_keeps_a_key_for_each_chat_for_ever_is_told_from_those_that_ship() {
    let keeps =
        |profile: &Profile| profile.keeps_for_ever().map(|limit| limit.name.to_string()).collect::<Vec<_>>();
    let month = "month | appchat/send | chat | calls | 30d | 9";
    assert_eq!(keeps(&profile(&[CHAT, MEMBER, month])), ["chat"]);
    for name in shipped_names() {
        assert_eq!(keeps(&shipped(name, Operator::Corp).unwrap()), [""; 0], "{name}");
    }
}
