//! The limit per day while somebody sets the wall clock: two plain histories, and random ones with restarts and reboots.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::ledger::command::{Ask, Command, Outcome, Refusal, Reply, To};
use crate::ledger::decide::{now, until_midnight};
use crate::ledger::entry::{Body, PenaltyLevel, Seq};

use super::config;
use super::ops::Fate;
use super::penalty_tests::{admit, posted, settle};
use super::rule_tests::{act, world};
use super::world::World;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const CAP: u64 = 10;

/// The limit is `CAP` person-times a day.
fn start() -> (World, Seq) {
    let (mut world, [app, _]) = world();
    let (corp_id, limit) = ("corp".to_owned(), "messages-corp-day".to_owned());
    act(&mut world, Command::PutCap { corp_id, limit, cap: Some(CAP) });
    (world, app)
}

/// A message to so many; its entry, or when it may be sent.
fn send(world: &mut World, app: Seq, people: u64) -> Result<Seq, i64> {
    let Command::Admit(mut message) = admit(world, app, "message/send") else { unreachable!() };
    message.ask = Ask { to: To::Count(people), ..Ask::default() };
    message.timeout_ms = 1_000_000;
    match act(world, Command::Admit(message)) {
        Reply::Admitted { pending, .. } => Ok(pending),
        Reply::Refused(Refusal::Limit { retry_at, .. }) => Err(retry_at.unwrap()),
        other => panic!("{other:?}"),
    }
}

fn send_now(world: &mut World, app: Seq, people: u64) {
    let pending = send(world, app, people).unwrap();
    settle(world, pending, posted(Some(0)));
}

/// As many as may be sent, one by one.
fn spend(world: &mut World, app: Seq) -> u64 {
    let one = |world: &mut World| send(world, app, 1).map(|pending| settle(world, pending, posted(Some(0))));
    (0..2 * CAP).take_while(|_| one(world).is_ok()).count() as u64
}

/// So long before the next midnight in China.
fn wait_until_before_midnight(world: &mut World, ms: i64) {
    world.machine.real += (until_midnight(world.machine.reading().wall_ms) - ms).rem_euclid(DAY);
}

#[test]
fn a_wall_clock_set_ahead_opens_no_second_budget_at_once() {
    let (mut world, app) = start();
    wait_until_before_midnight(&mut world, 10 * HOUR);
    assert_eq!(spend(&mut world, app), CAP);
    world.machine.ahead += 365 * DAY;
    assert_eq!(spend(&mut world, app), 0);
    world.machine.real += 10 * HOUR + MINUTE;
    assert_eq!(spend(&mut world, app), CAP, "the next day by both readings");
}

#[test]
fn a_wall_clock_set_ahead_and_back_freezes_no_day_and_loses_no_call() {
    let (mut world, app) = start();
    wait_until_before_midnight(&mut world, 10 * HOUR);
    send_now(&mut world, app, 4);
    world.machine.ahead += 365 * DAY;
    send_now(&mut world, app, 4);
    world.machine.ahead -= 365 * DAY;
    assert_eq!(spend(&mut world, app), CAP - 8);
    for _ in 0..3 {
        world.machine.real += DAY;
        assert_eq!(spend(&mut world, app), CAP);
    }
}

#[test]
fn a_wall_clock_that_wakes_up_behind_counts_by_its_own_day_from_the_first_call_on() {
    let (mut world, app) = start();
    wait_until_before_midnight(&mut world, 10 * HOUR);
    assert_eq!(spend(&mut world, app), CAP);
    world.machine.reboot(MINUTE, -5 * HOUR);
    world.start(0, Fate::Acknowledged);
    // The day lasts five hours longer by this reading.
    let retry_at = send(&mut world, app, 1).unwrap_err();
    let wall = world.machine.reading().wall_ms;
    let tick = world.processes[0].state.tick;
    assert_eq!(retry_at - tick, until_midnight(wall) + MINUTE);
}

#[test]
fn small_steps_are_seen_while_time_for_people_stands_still() {
    let (mut world, app) = start();
    world.machine.ahead += 30 * DAY;
    spend(&mut world, app);
    world.machine.ahead -= 30 * DAY;
    spend(&mut world, app);
    world.machine.real += 3 * DAY;
    spend(&mut world, app);
    for step in [59_000, -40_000, 6_000] {
        world.machine.ahead += step;
        spend(&mut world, app);
        let state = &world.processes[0].state;
        let wall = world.machine.reading().wall_ms;
        assert!((state.meters.wall(state.tick) - wall).abs() <= 5_000);
    }
}

#[test]
fn a_boot_long_after_the_clock_was_ahead_is_no_step_by_what_it_was_ahead() {
    let (mut world, app) = start();
    world.machine.ahead += 30 * DAY;
    spend(&mut world, app);
    world.machine.ahead -= 30 * DAY;
    spend(&mut world, app);
    world.machine.real += 3 * DAY;
    spend(&mut world, app);
    let known = world.rows.len();
    world.machine.reboot(10 * HOUR, 0);
    world.start(0, Fate::Acknowledged);
    spend(&mut world, app);
    let entries = world.rows[known..].iter().map(|row| row.entry().unwrap().body);
    let steps: Vec<i64> = entries
        .filter_map(|body| if let Body::ClockStepped(x) = body { Some(x.step_ms) } else { None })
        .collect();
    // The time that it was off: nobody can tell it from a clock that was set.
    assert!(matches!(steps[..], [step] if (step - 10 * HOUR).abs() < MINUTE), "{steps:?}");
}

#[test]
fn a_block_until_midnight_lasts_until_the_later_one_when_the_clock_was_set() {
    for ahead in [5 * HOUR, -5 * HOUR] {
        let (mut world, app) = start();
        wait_until_before_midnight(&mut world, 10 * HOUR);
        send(&mut world, app, 9).unwrap();
        world.machine.ahead += ahead;
        let pending = send(&mut world, app, 1).unwrap();
        settle(&mut world, pending, posted(Some(45009)));
        let row = world.rows.iter().map(|row| row.entry().unwrap()).rev();
        let started = row.filter_map(|entry| match entry.body {
            Body::PenaltyStarted(x) => Some((x.level, x.until_tick - entry.tick)),
            _ => None,
        });
        let lasts = 10 * HOUR - ahead.min(0);
        assert_eq!(started.take(1).collect::<Vec<_>>(), [(PenaltyLevel::Day, lasts)]);
    }
}

/// Everything that counts, read off the rows; by no other code than this.
#[derive(Default)]
struct Days {
    read: usize,
    /// Since which tick, and how far the wall clock was ahead.
    shown: Vec<(i64, i64)>,
    pending: BTreeMap<Seq, u64>,
    settled: Vec<(i64, u64)>,
}

fn day(wall: i64) -> i64 {
    (wall + 8 * HOUR).div_euclid(DAY)
}

/// Whether it is certainly of no other day, also by clocks that differ by two minutes.
fn is_certain(wall: i64) -> bool {
    day(wall - 2 * MINUTE) == day(wall + 2 * MINUTE)
}

impl Days {
    /// Reads on; all the new rows were written at the present.
    fn read(&mut self, world: &World) {
        let wall = world.machine.reading().wall_ms;
        for row in &world.rows[self.read..] {
            let entry = row.entry().unwrap();
            let ahead = wall - entry.tick;
            if self.shown.last().is_none_or(|(_, before)| (before - ahead).abs() > MINUTE) {
                self.shown.push((entry.tick, ahead));
            }
            let end = |days: &mut Self, pending: Seq, counts: bool| {
                let amount = days.pending.remove(&pending).filter(|_| counts);
                days.settled.extend(amount.map(|amount| (entry.tick, amount)));
            };
            match &entry.body {
                Body::CallPending(x) => {
                    self.pending.insert(entry.seq, x.cost.person_times);
                    self.check(entry.tick);
                }
                Body::CallPosted(x) => end(self, x.pending, true),
                Body::CallExpired(x) => end(self, x.pending, true),
                Body::CallVoided(x) => end(self, x.pending, false),
                _ => {}
            }
        }
        self.read = world.rows.len();
    }

    /// A call was admitted: it fits the present day of every reading of the last 24 hours.
    fn check(&self, tick: i64) {
        let ended = |of: usize| self.shown.get(of + 1).map(|next| next.0);
        let lately = (0..self.shown.len()).rev().take(5);
        for of in lately.filter(|of| ended(*of).is_none_or(|end| tick < end + DAY)) {
            let today = tick + self.shown[of].1;
            let counts = |settled: &&(i64, u64)| {
                is_certain(settled.0 + self.shown[of].1) && self.counts(settled.0, of, day(today))
            };
            let settled: u64 = self.settled.iter().filter(counts).map(|(_, amount)| amount).sum();
            let used = settled + self.pending.values().sum::<u64>();
            assert!(
                !is_certain(today) || used <= CAP,
                "{used} in a day, by reading {of} of {:?}",
                self.shown
            );
        }
    }

    fn counts(&self, settled: i64, of: usize, today: i64) -> bool {
        let right = self.shown[of].1;
        let then = self.shown.iter().rposition(|(begun, _)| *begun <= settled).unwrap();
        let ahead = self.shown[then].1;
        // The clock was behind by an hour at most, and took it for the day before.
        let corrected = then < of && (0..=HOUR + 2 * MINUTE).contains(&(right - ahead));
        day(settled + right) == today && !(corrected && day(settled + ahead) < today)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Wait(i64),
    BeforeMidnight(i64),
    Set(i64),
    /// Right again.
    SetRight,
    Reboot(i64, i64),
    Restart,
    Refold,
    Snapshot,
    Restore,
    Send(u64),
    Settle(u8),
    /// Waits for as long as the refusal says, and sends.
    SendLater,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let by = || prop_oneof![-20 * MINUTE..20 * MINUTE, -30 * HOUR..30 * HOUR, -20 * DAY..20 * DAY];
    let op = prop_oneof![
        4 => (0..4 * HOUR).prop_map(Op::Wait),
        1 => (0..2 * DAY).prop_map(Op::Wait),
        4 => (-5 * MINUTE..5 * MINUTE).prop_map(Op::BeforeMidnight),
        3 => by().prop_map(Op::Set),
        2 => Just(Op::SetRight),
        1 => (0..2 * DAY, by()).prop_map(|(off, ahead)| Op::Reboot(off, ahead)),
        1 => Just(Op::Restart),
        1 => Just(Op::Refold),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Restore),
        16 => (1..5_u64).prop_map(Op::Send),
        12 => (0..4_u8).prop_map(Op::Settle),
        2 => Just(Op::SendLater),
    ];
    proptest::collection::vec(op, 1..120)
}

fn first_pending(world: &World) -> Option<Seq> {
    world.naive.pendings().next().map(|call| call.seq)
}

fn step(world: &mut World, app: Seq, op: &Op, days: &mut Days) {
    let noted = world.noted_boot == world.machine.boot;
    match *op {
        Op::Wait(ms) => world.machine.real += ms,
        Op::BeforeMidnight(ms) => wait_until_before_midnight(world, ms),
        Op::Set(by) if noted => world.machine.ahead += by,
        Op::SetRight if noted => world.machine.ahead = 0,
        Op::Set(_) | Op::SetRight => {}
        Op::Reboot(off, ahead) => {
            world.machine.reboot(off, ahead.min(world.naive.may_wake_ahead()));
            world.start(0, Fate::Acknowledged);
        }
        Op::Restart => world.start(0, Fate::Acknowledged),
        Op::Refold => world.everybody_agrees(),
        Op::Snapshot => world.take_snapshot(0),
        Op::Restore => world.restore(0),
        Op::Send(people) => drop(send(world, app, people)),
        Op::Settle(how) => {
            let Some(pending) = first_pending(world) else { return };
            let outcome = match how {
                0 => Outcome::Voided { reason: "not sent".to_owned() },
                1 => Outcome::Expired { reason: "broken".to_owned() },
                _ => posted(Some(0)),
            };
            act(world, Command::Settle { pending, outcome, caller: None });
        }
        Op::SendLater => {
            while let Some(pending) = first_pending(world) {
                act(world, Command::Settle { pending, outcome: posted(Some(0)), caller: None });
            }
            if let Err(retry_at) = send(world, app, 1) {
                days.read(world);
                let left = retry_at - now(&world.processes[0].state, &world.machine.reading()).tick;
                assert!((1..=DAY + 2 * MINUTE).contains(&left), "frozen for {left}");
                world.machine.real += left - 1;
                assert!(send(world, app, 1).is_err());
                days.read(world);
                world.machine.real += 1;
                send_now(world, app, 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn no_day_of_any_clock_shown_lately_is_exceeded_and_none_is_frozen(ops in ops()) {
        let (mut world, app) = start();
        let mut days = Days::default();
        days.read(&world);
        for op in &ops {
            step(&mut world, app, op, &mut days);
            days.read(&world);
        }
        world.everybody_agrees();
    }
}
