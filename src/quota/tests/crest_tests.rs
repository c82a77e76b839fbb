//! Messages to everybody, against a walk over every member.

use proptest::prelude::*;

use super::*;

const MEMBERS: u64 = 6;

#[derive(Clone, Debug)]
enum Op {
    Wait(i64),
    /// To these members, by the bits; none: to everybody.
    Send {
        app: u64,
        members: u64,
    },
    /// Of those in flight.
    Post(usize),
    Expire {
        which: usize,
        margin: i64,
    },
    Void(usize),
    Prune,
    Reload,
    Switch(bool),
    /// Somebody sets the wall clock: it is so far ahead of the tick.
    Set(i64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..40_i64).prop_map(Op::Wait),
        2 => (0..2_500_i64).prop_map(Op::Wait),
        12 => (1..3_u64, 0..1_u64 << MEMBERS).prop_map(|(app, members)| Op::Send { app, members }),
        6 => (0..64_usize, 0..MEMBERS).prop_map(|(_, one)| Op::Send { app: 1, members: 1 << one }),
        12 => (0..64_usize).prop_map(Op::Post),
        2 => (0..64_usize, 0..600_i64).prop_map(|(which, margin)| Op::Expire { which, margin }),
        2 => (0..64_usize).prop_map(Op::Void),
        1 => Just(Op::Prune),
        1 => Just(Op::Reload),
        1 => any::<bool>().prop_map(Op::Switch),
    ]
}

/// With or without a third count, which makes other counters of the same keys.
fn profile_with(more: bool) -> Profile {
    let third = "day | message/send | corp app member | calls | day | 40";
    let lines = [
        "short | message/send | corp app member | calls | 1s | 5",
        "long | message/send | corp app member | calls | 5s | 12",
    ];
    profile(&lines.into_iter().chain(more.then_some(third)).collect::<Vec<_>>())
}

struct World {
    meters: Meters,
    now: i64,
    open: Vec<(u64, Vec<u64>)>,
}

fn facets(app: u64, members: &[u64]) -> Facets<'_> {
    Facets { app, members, broadcast: members.is_empty(), ..call("message/send") }
}

impl World {
    fn step(&mut self, op: &Op) {
        let now = at(self.now);
        let ended = |open: &mut Vec<(u64, Vec<u64>)>, which: &usize| {
            let at = (!open.is_empty()).then(|| which % open.len())?;
            Some(open.remove(at))
        };
        match op {
            Op::Wait(ms) => self.now += ms,
            Op::Send { app, members } => {
                let members: Vec<u64> = (0..MEMBERS).filter(|i| members & (1 << i) != 0).collect();
                if take(&mut self.meters, &facets(*app, &members), now) {
                    self.open.push((*app, members));
                }
            }
            Op::Post(which) => {
                if let Some((app, members)) = ended(&mut self.open, which) {
                    post(&mut self.meters, &facets(app, &members), now, true);
                }
            }
            Op::Expire { which, margin } => {
                if let Some((app, members)) = ended(&mut self.open, which) {
                    self.meters.expire(&facets(app, &members), &Cost::CALL, at(self.now + margin));
                }
            }
            Op::Void(which) => {
                if let Some((app, members)) = ended(&mut self.open, which) {
                    self.meters.give_back(&facets(app, &members), &Cost::CALL);
                }
            }
            Op::Prune => self.meters.prune(now),
            Op::Reload => {
                let bytes = postcard::to_stdvec(&self.meters).unwrap();
                let reloaded: Meters = postcard::from_bytes(&bytes).unwrap();
                assert_eq!(reloaded, self.meters);
                self.meters = reloaded;
            }
            Op::Switch(more) => self.meters.switch(&profile_with(*more)).unwrap(),
            Op::Set(ahead) => self.meters.show(self.now, *ahead),
        }
    }
}

/// What a message to everybody would meet at each member, who is asked one by one.
fn walk(meters: &Meters, app: u64, now: Moment) -> (bool, Option<i64>, Vec<u64>) {
    let mut walked = (true, Some(i64::MIN), Vec::new());
    for member in 0..=MEMBERS {
        let to_one = [member];
        let facets = facets(app, &to_one);
        if let Judgement::Refused(refusal) = judge(meters, &facets, now) {
            walked = (false, walked.1.max(refusal.retry_at), walked.2);
        }
        let used = meters.readings(&facets, &Cost::CALL, 500, now);
        let used: Vec<u64> = used.iter().map(|reading| reading.used).collect();
        walked.2.resize(used.len(), 0);
        walked.2.iter_mut().zip(used).for_each(|(most, used)| *most = used.max(*most));
    }
    walked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_broadcast_meets_what_a_walk_over_all_members_finds(ops in proptest::collection::vec(op(), 1..200)) {
        let meters = Meters::new(&profile_with(false)).unwrap();
        let mut world = World { meters, now: MIDNIGHT - 20_000, open: Vec::new() };
        for op in &ops {
            world.step(op);
            for (app, later) in [(1, 0), (2, 0), (1, 700), (1, 3_000)] {
                let now = at(world.now + later);
                let (passes, retry_at, used) = walk(&world.meters, app, now);
                let broadcast = judge(&world.meters, &facets(app, &[]), now);
                prop_assert_eq!(broadcast.is_admitted(), passes);
                let readings = world.meters.readings(&facets(app, &[]), &Cost::CALL, 500, now);
                prop_assert_eq!(readings.iter().map(|reading| reading.used).collect::<Vec<_>>(), used);
                if let Judgement::Refused(refusal) = broadcast {
                    prop_assert_eq!(refusal.retry_at, retry_at);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Periods that no clock agrees on may be put together, so it is an upper bound then.
    #[test]
    fn however_the_clock_is_set_a_broadcast_finds_no_more_room_than_a_walk(
        ops in proptest::collection::vec(
            prop_oneof![
                6 => op(),
                1 => (-30..30_i64).prop_map(|hours| Op::Set(hours * 3_600_000)),
                1 => (0..26_i64).prop_map(|hours| Op::Wait(hours * 3_600_000)),
            ],
            1..200,
        )
    ) {
        let meters = Meters::new(&profile_with(true)).unwrap();
        let mut world = World { meters, now: MIDNIGHT - 20_000, open: Vec::new() };
        world.meters.show(world.now, 0);
        for op in &ops {
            world.step(op);
            for (app, later) in [(1, 0), (2, 0), (1, 3_000), (1, 5 * 3_600_000)] {
                let now = at(world.now + later);
                let (passes, retry_at, used) = walk(&world.meters, app, now);
                let broadcast = judge(&world.meters, &facets(app, &[]), now);
                prop_assert!(passes || !broadcast.is_admitted());
                let readings = world.meters.readings(&facets(app, &[]), &Cost::CALL, 500, now);
                prop_assert!(readings.iter().zip(used).all(|(reading, used)| reading.used >= used));
                if let (Judgement::Refused(refusal), false) = (broadcast, passes) {
                    prop_assert!(refusal.retry_at >= retry_at);
                }
            }
        }
    }
}

/// So many members have a message, each of them one; the first has `most` of them.
fn crowd(members: u64, most: usize) -> Meters {
    let mut meters = meters(&["member | message/send | corp app member | calls | 60s | 10"]);
    for first in (1..=members).step_by(1_000) {
        let some: Vec<u64> = (first..first + 1_000).collect();
        assert!(take(&mut meters, &facets(2, &some), at(0)));
    }
    for _ in 1..most {
        assert!(take(&mut meters, &facets(2, &[1]), at(0)));
    }
    meters
}

#[test]
fn with_very_many_members_in_flight_a_broadcast_counts_at_least_what_the_fullest_has() {
    let mut meters = crowd(10_000, 6);
    let to_all = facets(2, &[]);
    assert_eq!(used(&meters, "member", &to_all, at(0)), 6);
    for _ in 0..3 {
        assert!(take(&mut meters, &facets(2, &[9]), at(0)));
        post(&mut meters, &facets(2, &[9]), at(0), true);
    }
    assert_eq!(
        used(&meters, "member", &to_all, at(0)),
        9,
        "as if the fullest were the one with most in flight"
    );
    assert_eq!(spend(&mut meters, &to_all, 9, at(0)), 1);
    let refused = refusal(judge(&meters, &to_all, at(0)));
    assert_eq!((refused.reading.used, refused.reading.in_flight, refused.retry_at), (10, 6, Some(60_600)));
}

#[test]
fn a_member_that_was_given_back_leaves_nothing_behind() {
    let mut meters = crowd(5_000, 1);
    let some = |first: u64| (first..first + 1_000).collect::<Vec<u64>>();
    for first in (1..=5_000).step_by(1_000) {
        meters.give_back(&facets(2, &some(first)), &Cost::CALL);
    }
    assert_eq!(used(&meters, "member", &facets(2, &[]), at(0)), 0);
    (0..40).for_each(|_| meters.prune(at(0)));
    let mut fresh = crowd(0, 1);
    fresh.prune(at(0));
    assert_eq!(meters, fresh);
}

#[test]
fn very_many_members_in_flight_are_known_to_a_new_profile() {
    let mut meters = crowd(5_000, 3);
    let more = profile(&[
        "member | message/send | corp app member | calls | 60s | 10",
        "more | message/send | corp app member | calls | 1h | 100",
    ]);
    meters.switch(&more).unwrap();
    assert_eq!(used(&meters, "member", &facets(2, &[]), at(0)), 3);
}
