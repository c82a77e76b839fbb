//! What the counters of a hundred thousand keys (corp × API) take in memory, counted by the allocator.
//!
//! `cargo bench --bench memory`. A key is full when something settled in every bucket of its minute and of its hour,
//! which is the most that it can ever take.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that can't run says why")]
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use wecom_ledger::quota::{Cost, Facets, Meters, Moment, Operator, shipped, shipped_names};

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Counts what was asked for, and 16 bytes for each piece, as malloc does.
struct Counting;

fn cost(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(cost(layout), Ordering::Relaxed);
        // SAFETY: as asked.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(cost(layout), Ordering::Relaxed);
        // SAFETY: as asked.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const KEYS: u64 = 100_000;
const APIS: u64 = 100;
const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// One call of every key at a tick.
fn call_all(meters: &mut Meters, tick: i64) {
    let now = Moment { tick, at: tick };
    for key in 0..KEYS {
        let (corp, api) = (1 + key / APIS, 1 + key % APIS);
        let facets = Facets { corp, app: corp, api, api_name: "user/get", egress_ip: 1, ..Facets::default() };
        meters.take(&facets, &Cost::CALL, now);
        meters.settle(&facets, &Cost::CALL, &Cost::CALL, now, true);
    }
}

fn report(what: &str, before: usize) {
    let bytes = in_use() - before;
    println!("{what:<40}{:>8} bytes a key {:>8} MB", bytes / KEYS as usize, bytes / 1_000_000);
}

fn main() {
    for name in shipped_names() {
        let before = in_use();
        let mut meters = Meters::new(&shipped(name, Operator::Corp).unwrap()).unwrap();
        let begun = 1_700_000_000_000 / HOUR * HOUR;
        call_all(&mut meters, begun);
        report(&format!("{name}, one call each"), before);
        let end = begun + HOUR;
        (begun..end - MINUTE).step_by(36_000).for_each(|tick| call_all(&mut meters, tick));
        (end - MINUTE..end).step_by(600).for_each(|tick| call_all(&mut meters, tick));
        report(&format!("{name}, every bucket full"), before);
        let idle = Moment { tick: end + 2 * HOUR, at: end + 2 * HOUR };
        (0..=KEYS / 256 + 1).for_each(|_| meters.prune(idle));
        report(&format!("{name}, idle"), before);
    }
}
