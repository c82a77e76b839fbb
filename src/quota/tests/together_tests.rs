//! Members, clocks, profiles and keys at the same time, against a count of what certainly belongs to the present day.

use proptest::prelude::*;

use super::*;

const MEMBERS: u64 = 6;

#[derive(Clone, Debug)]
enum Op {
    Wait(i64),
    /// To these members, by the bits; none: to everybody.
    Send(u64),
    Post(usize),
    Expire(usize, i64),
    Void(usize),
    Prune,
    Reload,
    /// The wall clock is so far ahead of the tick.
    Set(i64),
    /// So much further than before.
    Step(i64),
    Switch(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..90 * MINUTE).prop_map(Op::Wait),
        2 => (0..30 * HOUR).prop_map(Op::Wait),
        12 => (0..1_u64 << MEMBERS).prop_map(Op::Send),
        6 => (0..64_usize).prop_map(Op::Post),
        2 => (0..64_usize, 1..600_i64).prop_map(|(which, margin)| Op::Expire(which, margin)),
        2 => (0..64_usize).prop_map(Op::Void),
        1 => Just(Op::Prune),
        1 => Just(Op::Reload),
        2 => prop_oneof![-2 * HOUR..2 * HOUR, -40 * DAY..40 * DAY].prop_map(Op::Set),
        2 => prop_oneof![-2 * HOUR..2 * HOUR, -10_000..10_000_i64].prop_map(Op::Step),
        1 => (0..8_u8).prop_map(Op::Switch),
    ]
}

/// The bits say which limits there are besides that of the day.
fn profile_of(which: u8) -> Profile {
    let more = [
        "month | message/send | corp app member | calls | month | 14",
        "hour | message/send | corp app member | calls | 1h | 4",
        "app | message/send | corp app | calls | day | 40",
    ];
    let more = more.into_iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0).map(|(_, line)| line);
    let day = "day | message/send | corp app member | calls | day | 6";
    profile(&[day].into_iter().chain(more).collect::<Vec<_>>())
}

fn facets(members: &[u64]) -> Facets<'_> {
    Facets { members, broadcast: members.is_empty(), ..call("message/send") }
}

fn goes_to(members: &[u64], member: u64) -> bool {
    members.is_empty() || members.contains(&member)
}

struct World {
    meters: Meters,
    tick: i64,
    /// What the wall clock showed, and since when; the last one is the present.
    shown: Vec<(i64, i64)>,
    open: Vec<Vec<u64>>,
    /// Since the last switch: what is counted per member is known only from when a profile asks for it.
    settled: Vec<(i64, Vec<u64>)>,
}

impl World {
    fn new() -> Self {
        let tick = MIDNIGHT + 3 * HOUR;
        let (mut meters, open, settled) = (Meters::new(&profile_of(7)).unwrap(), Vec::new(), Vec::new());
        meters.show(tick, 0);
        Self { meters, tick, shown: vec![(tick, 0)], open, settled }
    }

    fn ahead(&self) -> i64 {
        self.shown.last().unwrap().1
    }

    fn end(&mut self, which: usize) -> Option<Vec<u64>> {
        let at = (!self.open.is_empty()).then(|| which % self.open.len())?;
        Some(self.open.remove(at))
    }

    fn set(&mut self, ahead: i64) {
        self.tick += 1;
        self.meters.show(self.tick, ahead);
        self.shown.push((self.tick, ahead));
    }

    fn step(&mut self, op: &Op) {
        let now = at(self.tick);
        match *op {
            Op::Wait(ms) => self.tick += ms,
            Op::Send(bits) => {
                let members: Vec<u64> = (0..MEMBERS).filter(|i| bits & (1 << i) != 0).collect();
                if take(&mut self.meters, &facets(&members), now) {
                    self.open.push(members);
                }
            }
            Op::Post(which) => {
                if let Some(members) = self.end(which) {
                    post(&mut self.meters, &facets(&members), now, true);
                    self.settled.push((self.tick, members));
                }
            }
            Op::Expire(which, margin) => {
                if let Some(members) = self.end(which) {
                    self.meters.expire(&facets(&members), &Cost::CALL, at(self.tick + margin));
                    self.settled.push((self.tick, members));
                }
            }
            Op::Void(which) => {
                if let Some(members) = self.end(which) {
                    self.meters.give_back(&facets(&members), &Cost::CALL);
                }
            }
            Op::Prune => self.meters.prune(now),
            Op::Reload => {
                let bytes = postcard::to_stdvec(&self.meters).unwrap();
                let reloaded: Meters = postcard::from_bytes(&bytes).unwrap();
                assert_eq!(reloaded, self.meters);
                self.meters = reloaded;
            }
            Op::Set(ahead) => self.set(ahead),
            Op::Step(by) => self.set(self.ahead() + by),
            Op::Switch(which) => {
                self.meters.switch(&profile_of(which)).unwrap();
                self.settled.clear();
            }
        }
    }

    fn of_day(&self, members: &[u64]) -> u64 {
        used(&self.meters, "day", &facets(members), at(self.tick))
    }

    /// What a member has under way, and what settled today while the clock showed what it shows now.
    fn at_least(&self, member: u64) -> u64 {
        let ahead = self.ahead();
        let midnight = (self.tick + ahead + 8 * HOUR).div_euclid(DAY) * DAY - 8 * HOUR - ahead;
        let other = self.shown.iter().rposition(|(_, shown)| (shown - ahead).abs() > 5_000);
        let since = other.map_or(midnight, |other| midnight.max(self.shown[other + 1].0));
        let today = self.settled.iter().filter(|(tick, to)| *tick >= since && goes_to(to, member));
        let under_way = self.open.iter().filter(|to| goes_to(to, member));
        (today.count() + under_way.count()) as u64
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_today_is_missed_and_in_the_end_nothing_is_left(ops in proptest::collection::vec(op(), 1..150)) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
            let keys: usize = world.meters.tracks.iter().map(|track| track.rows.len()).sum();
            prop_assert_eq!(world.meters.keys, keys);
            let fullest = world.of_day(&[]);
            for member in 0..MEMBERS {
                let used = world.of_day(&[member]);
                let least = world.at_least(member);
                prop_assert!((least..=fullest).contains(&used), "{op:?}: {member} has {used} of {least}..={fullest}");
            }
        }
        for members in std::mem::take(&mut world.open) {
            world.meters.give_back(&facets(&members), &Cost::CALL);
        }
        world.tick += 35 * DAY;
        (0..9).for_each(|_| world.meters.prune(at(world.tick)));
        let profile = ops.iter().rev().find_map(|op| if let Op::Switch(to) = op { Some(*to) } else { None });
        let fresh = Meters::new(&profile_of(profile.unwrap_or(7))).unwrap();
        prop_assert_eq!(&world.meters.tracks, &fresh.tracks, "not even a crest");
    }
}
