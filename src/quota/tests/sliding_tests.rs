use super::counter::{Counter, Counters, Span};
use super::eras::{Eras, When};
use super::sliding::{Grid, Sliding};

const MINUTE: i64 = 60_000;

fn grid() -> Grid {
    Grid::new(MINUTE)
}

fn settled(ticks: &[i64]) -> Sliding {
    let mut counter = Sliding::default();
    for tick in ticks {
        counter.take(1);
        counter.give_back(1);
        counter.settle(grid(), 1, *tick);
    }
    counter
}

#[test]
fn a_call_counts_until_a_window_after_the_end_of_its_bucket() {
    for (tick, freed) in [(0, 60_600), (599, 60_600), (600, 61_200)] {
        let counter = settled(&[tick]);
        assert_eq!(counter.used(grid(), freed - 1), 1);
        assert_eq!(counter.used(grid(), freed), 0);
        assert_eq!(counter.empties(grid(), tick), freed);
    }
}

#[test]
fn ticks_before_zero_are_ticks_like_any_other() {
    let counter = settled(&[-1]);
    assert_eq!(counter.used(grid(), MINUTE - 1), 1);
    assert_eq!(counter.used(grid(), MINUTE), 0);
}

#[test]
fn a_call_in_flight_counts_for_as_long_as_it_takes() {
    let mut counter = Sliding::default();
    counter.take(3);
    counter.trim(grid(), 100 * MINUTE);
    assert_eq!(counter.used(grid(), 100 * MINUTE), 3);
    counter.give_back(3);
    assert!(counter.is_idle());
}

#[test]
fn settlements_may_come_out_of_order() {
    let orders = [[0, 5_000, 90_000], [90_000, 0, 5_000], [5_000, 90_000, 0], [90_000, 5_000, 0]];
    for order in orders {
        let mut counter = settled(&order);
        assert_eq!(counter, settled(&orders[0]), "{order:?}");
        assert_eq!([60_000, 61_000, 66_000, 151_000].map(|tick| counter.used(grid(), tick)), [3, 2, 1, 0]);
        counter.trim(grid(), 66_000);
        assert_eq!([66_000, 151_000].map(|tick| counter.used(grid(), tick)), [1, 0]);
    }
}

#[test]
fn what_frees_enough_is_found_from_the_oldest_on() {
    let falls_to = |counter: &Sliding, allowed| {
        let counter = Counter::Sliding(counter.clone());
        let now = When { tick: 7_000, eras: &Eras::default() };
        Counters(Some(&counter), None).falls_to(allowed, Span::Sliding(grid()), now)
    };
    let mut counter = settled(&[0, 0, 6_000]);
    assert_eq!([2, 1, 0].map(|allowed| falls_to(&counter, allowed)), [60_600, 60_600, 66_600].map(Some));
    counter.take(1);
    assert_eq!(falls_to(&counter, 0), Some(67_200), "as if it settled now");
}

#[test]
fn more_than_fits_a_bucket_fills_it_for_every_cap() {
    let mut counter = Sliding::default();
    counter.settle(grid(), u64::MAX, 0);
    counter.settle(grid(), 5, 1);
    assert_eq!(counter.used(grid(), 1), u64::from(u32::MAX));
    counter.settle(grid(), 5, 30_000);
    assert_eq!(counter.used(grid(), 60_600), 5);
    assert_eq!(counter.used(grid(), 90_600), 0);
}

#[test]
fn buckets_too_far_apart_count_too_long_and_never_too_short() {
    let grid = Grid::new(10);
    for (first, second) in [(0, 1 << 40), (1 << 40, 0), (i64::MAX, 0), (0, i64::MAX), (i64::MIN, i64::MAX)] {
        let mut counter = Sliding::default();
        counter.settle(grid, 1, first);
        counter.settle(grid, 1, second);
        let (early, late) = (first.min(second), first.max(second));
        assert_eq!(counter.used(grid, early.saturating_add(10)), 2);
        assert!(counter.used(grid, late) >= 1);
        assert_eq!(counter.used(grid, late.saturating_add(11)), u64::from(late == i64::MAX));
    }
}

#[test]
fn a_counter_that_is_always_busy_stays_small() {
    let mut counter = Sliding::default();
    for tick in (0..10 * MINUTE).step_by(50) {
        counter.trim(grid(), tick);
        counter.take(1);
        counter.give_back(1);
        counter.settle(grid(), 1, tick);
    }
    assert!(counter.size() <= (102, 104), "{:?}", counter.size());
    counter.trim(grid(), 11 * MINUTE - 2_000);
    counter.shrink();
    assert!(counter.size() <= (5, 5), "{:?}", counter.size());
    assert_eq!((size_of::<Sliding>(), size_of::<Counter>()), (48, 48));
}
