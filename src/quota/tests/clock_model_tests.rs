//! Calendar windows against a list of everything that was ever counted, while the wall clock is set to and fro.

use chrono::{DateTime, Datelike};
use proptest::prelude::*;

use super::*;

const GUARD: i64 = 60_000;
const CAP: u64 = 6;

#[derive(Clone, Debug)]
enum Op {
    Wait(i64),
    /// Until so long before or after the next midnight, by the present reading.
    ToMidnight(i64),
    /// To the last day of the month, by the present reading.
    ToMonthEnd,
    Set(i64),
    /// Back to what it showed so many times ago, nearly.
    SetBack(usize, i64),
    Call(u64),
    /// It stays under way.
    Take(u64),
    Settle,
    Void,
    Prune,
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let step = prop_oneof![
        -10 * MINUTE..10 * MINUTE,
        -3 * HOUR..3 * HOUR,
        -2 * DAY..2 * DAY,
        (-3..4_i64).prop_map(|days| days * DAY),
        -40 * DAY..40 * DAY
    ];
    prop_oneof![
        2 => (0..30 * MINUTE).prop_map(Op::Wait),
        2 => (0..12 * HOUR).prop_map(Op::Wait),
        1 => (0..3 * DAY).prop_map(Op::Wait),
        3 => (-3 * MINUTE..3 * MINUTE).prop_map(Op::ToMidnight),
        2 => prop_oneof![Just(-GUARD - 1), Just(-GUARD), Just(GUARD - 1), Just(GUARD)].prop_map(Op::ToMidnight),
        1 => Just(Op::ToMonthEnd),
        2 => step.prop_map(Op::Set),
        2 => (1..5_usize, prop_oneof![Just(0), -6_000..6_000_i64]).prop_map(|(back, by)| Op::SetBack(back, by)),
        12 => (1..4_u64).prop_map(Op::Call),
        2 => (1..3_u64).prop_map(Op::Take),
        3 => Just(Op::Settle),
        1 => Just(Op::Void),
        1 => Just(Op::Prune),
        1 => Just(Op::Reload),
    ]
}

struct World {
    meters: Meters,
    month: bool,
    tick: i64,
    /// Since when, and how far the wall clock was ahead.
    shown: Vec<(i64, i64)>,
    settled: Vec<(i64, u64)>,
    in_flight: Vec<u64>,
}

fn cost(amount: u64) -> Cost {
    Cost { person_times: amount, ..Cost::default() }
}

impl World {
    fn new(month: bool) -> Self {
        let window = if month { "month" } else { "day" };
        let mut meters = meters(&[&format!("it | * | corp | person_times | {window} | {CAP}")]);
        let tick = MIDNIGHT + 5 * HOUR;
        meters.show(tick, 0);
        Self { meters, month, tick, shown: vec![(tick, 0)], settled: Vec::new(), in_flight: Vec::new() }
    }

    fn ahead(&self) -> i64 {
        self.shown.last().unwrap().1
    }

    fn period(&self, wall: i64) -> i64 {
        let local = DateTime::from_timestamp_millis(wall + 8 * HOUR).unwrap();
        if self.month {
            i64::from(local.year()) * 12 + i64::from(local.month0())
        } else {
            (wall + 8 * HOUR).div_euclid(DAY)
        }
    }

    fn touched(&self, wall: i64) -> [i64; 2] {
        [self.period(wall - GUARD), self.period(wall + GUARD)]
    }

    fn set(&mut self, ahead: i64) {
        // What settled in the same millisecond may be of either era.
        self.tick += 1;
        if (ahead - self.ahead()).abs() > 5_000 {
            self.shown.push((self.tick, ahead));
            // No more are remembered.
            if self.shown.len() > 8 {
                self.shown.remove(0);
            }
        }
        self.meters.show(self.tick, ahead);
    }

    /// Readings shown within the last day; the present one is the last.
    fn counting(&self) -> impl Iterator<Item = usize> {
        let ended = |of: usize| self.shown.get(of + 1).map(|next| next.0);
        (0..self.shown.len()).filter(move |of| ended(*of).is_none_or(|end| self.tick < end + DAY))
    }

    /// Whether what settled at a tick counts in a period of a reading.
    fn counts(&self, settled: i64, of: usize, period: i64) -> bool {
        let right = self.shown[of].1;
        if !self.touched(settled + right).contains(&period) {
            return false;
        }
        // In this era; before the oldest that is remembered nobody knows.
        let Some(then) = self.shown.iter().rposition(|(begun, _)| *begun <= settled) else { return true };
        let behind = right - self.shown[then].1;
        let known = self.shown[..then].iter().any(|(_, ahead)| (ahead - right).abs() <= 5_000);
        let corrected = then < of && (1..=HOUR).contains(&behind) && !known;
        !corrected || self.touched(settled + self.shown[then].1)[1] >= period
    }

    /// The fullest present period of a reading.
    fn used_by(&self, of: usize) -> u64 {
        let in_flight: u64 = self.in_flight.iter().sum();
        let used = |period: i64| -> u64 {
            let counts = self.settled.iter().filter(|(tick, _)| self.counts(*tick, of, period));
            counts.map(|(_, amount)| amount).sum::<u64>() + in_flight
        };
        self.touched(self.tick + self.shown[of].1).into_iter().map(used).max().unwrap()
    }

    fn fullest(&self) -> u64 {
        self.counting().map(|of| self.used_by(of)).max().unwrap()
    }

    fn used(&self) -> u64 {
        self.meters.readings(&call("a"), &cost(1), 500, at(self.tick))[0].used
    }

    fn judge_at(&self, amount: u64, tick: i64) -> Judgement {
        self.meters.judge(&call("a"), &cost(amount), 500, at(tick))
    }

    fn take(&mut self, amount: u64) -> bool {
        let admitted = self.judge_at(amount, self.tick).is_admitted();
        if admitted {
            assert!(self.fullest() + amount <= CAP, "a reading that counts is exceeded");
            self.meters.take(&call("a"), &cost(amount), at(self.tick));
            self.in_flight.push(amount);
        }
        admitted
    }

    fn settle(&mut self) {
        if let Some(amount) = self.in_flight.pop() {
            self.meters.settle(&call("a"), &cost(amount), &cost(amount), at(self.tick), true);
            self.settled.push((self.tick, amount));
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Wait(ms) => self.tick += ms,
            Op::ToMidnight(by) => {
                let of_day = (self.tick + self.ahead() + 8 * HOUR).rem_euclid(DAY);
                self.tick += (DAY - of_day + by).rem_euclid(DAY);
            }
            Op::ToMonthEnd => {
                let local =
                    |tick: i64| DateTime::from_timestamp_millis(tick + self.ahead() + 8 * HOUR).unwrap();
                let mut tick = self.tick;
                while local(tick + DAY).month() == local(self.tick).month() {
                    tick += DAY;
                }
                self.tick = tick;
            }
            Op::Set(by) => self.set(self.ahead() + by),
            Op::SetBack(back, by) => {
                let of = self.shown.len().saturating_sub(back + 1);
                self.set(self.shown[of].1 + by);
            }
            Op::Call(amount) => {
                if self.take(amount) {
                    self.settle();
                }
            }
            Op::Take(amount) => drop(self.take(amount)),
            Op::Settle => self.settle(),
            Op::Void => {
                if let Some(amount) = self.in_flight.pop() {
                    self.meters.give_back(&call("a"), &cost(amount));
                }
            }
            Op::Prune => self.meters.prune(at(self.tick)),
            Op::Reload => {
                let bytes = postcard::to_stdvec(&self.meters).unwrap();
                assert_eq!(postcard::from_bytes::<Meters>(&bytes).unwrap(), self.meters);
            }
        }
    }

    /// Whether one reading alone decides, and has since the present period began.
    fn is_settled(&self) -> bool {
        let (begun, ahead) = *self.shown.last().unwrap();
        let first = |tick: i64| self.touched(tick + ahead)[0];
        self.counting().count() == 1 && (self.shown.len() == 1 || first(begun) < first(self.tick))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_period_is_exceeded_by_any_reading_that_counts(month: bool, ops in proptest::collection::vec(op(), 1..160)) {
        let mut world = World::new(month);
        for op in &ops {
            world.step(op);
            prop_assert!(world.used() >= world.fullest(), "{:?}: {} < {}", op, world.used(), world.fullest());
        }
    }

    #[test]
    fn where_nobody_sets_the_clock_nothing_else_is_counted(month: bool, ops in proptest::collection::vec(op(), 1..160)) {
        let mut world = World::new(month);
        for op in ops.iter().filter(|op| !matches!(op, Op::Set(_) | Op::SetBack(..))) {
            world.step(op);
            prop_assert_eq!(world.used(), world.fullest());
        }
    }

    #[test]
    fn when_the_newer_reading_is_believed_nothing_else_is_counted(
        month: bool, ops in proptest::collection::vec(op(), 1..160)
    ) {
        let mut world = World::new(month);
        for op in &ops {
            world.step(op);
            if world.is_settled() {
                prop_assert_eq!(world.used(), world.fullest());
            }
        }
    }

    #[test]
    fn the_retry_tick_is_the_first_at_which_a_call_passes_and_no_period_away(
        month: bool, ops in proptest::collection::vec(op(), 1..160)
    ) {
        let mut world = World::new(month);
        for op in &ops {
            world.step(op);
            let Judgement::Refused(refusal) = world.judge_at(2, world.tick) else { continue };
            let (retry_at, resets_at) = (refusal.retry_at.unwrap(), refusal.reading.resets_at.unwrap());
            // What is under way is taken to settle now.
            let under_way = std::mem::take(&mut world.in_flight);
            let before = world.meters.clone();
            for amount in &under_way {
                world.meters.settle(&call("a"), &cost(*amount), &cost(*amount), at(world.tick), true);
            }
            prop_assert!(!world.judge_at(2, retry_at - 1).is_admitted());
            prop_assert!(world.judge_at(2, retry_at).is_admitted());
            let used = |tick: i64| world.meters.readings(&call("a"), &cost(1), 500, at(tick))[0].used;
            prop_assert!(used(resets_at - 1) > 0 && used(resets_at) == 0);
            let longest = if month { 31 * DAY } else { DAY } + 2 * GUARD;
            prop_assert!((retry_at..=world.tick + longest).contains(&resets_at));
            (world.meters, world.in_flight) = (before, under_way);
        }
    }
}
