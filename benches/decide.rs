//! What a decision about a call costs: `judge`, `take` and `settle` in nanoseconds, by number of keys and of limits; and
//! what a message to everybody costs, by number of members with counters of their own.
//!
//! `cargo bench --bench decide`. Each number is the median over rounds of a thousand calls, each of a random key.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that can't run says why")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use wecom_ledger::quota::{Cap, Cost, Facets, Meters, Moment, Operator, Profile, shipped};

const ROUNDS: usize = 300;
const CALLS: u64 = 1_000;
/// Different APIs of each corp.
const APIS: u64 = 100;
/// As the ledger does.
const PRUNE_EVERY: u64 = 128;

/// Scopes of the limits of a made-up profile; each comes with a minute and an hour.
const SCOPES: [&str; 6] = [
    r#"["corp", "api"]"#,
    r#"["egress_ip", "api"]"#,
    r#"["corp"]"#,
    r#"["corp", "app"]"#,
    r#"["api_key"]"#,
    r#"["api_key", "api"]"#,
];

/// A profile with so many limits that every call matches.
fn made_up(limits: usize) -> Profile {
    let mut text = "name = \"made-up\"\n".to_owned();
    for i in 0..limits {
        let (scope, window) = (SCOPES[i / 2], ["60s", "1h"][i % 2]);
        let _ = write!(
            text,
            "[[limit]]\nname = \"limit-{i}\"\napis = \"*\"\nscope = {scope}\nunit = \"calls\"\n\
             window = \"{window}\"\ncap = 4_000_000_000\nsource = \"made up\"\n"
        );
    }
    Profile::from_toml(&text).unwrap()
}

/// The profile with caps that are never reached.
fn endless(name: &str) -> Profile {
    let mut profile = shipped(name, Operator::Corp).unwrap();
    for limit in &mut profile.limits {
        limit.cap = Cap::Fixed(4_000_000_000);
    }
    profile
}

/// Median nanoseconds of a call.
fn measure(profile: &Profile, keys: u64) -> u64 {
    let mut meters = Meters::new(profile).unwrap();
    let mut tick = 1_700_000_000_000_i64;
    let mut random = 88_172_645_463_325_252_u64;
    let mut calls = 0_u64;
    let mut call = |key: u64| {
        let facets = Facets {
            corp: 1 + key / APIS,
            app: 7 + key / APIS,
            api: 1 + key % APIS,
            api_name: "user/get",
            egress_ip: 1,
            api_key: 1 + key % 10,
            ..Facets::default()
        };
        let now = Moment { tick, at: tick };
        assert!(black_box(meters.judge(&facets, &Cost::CALL, 1_000, now)).is_admitted());
        meters.take(&facets, &Cost::CALL, now);
        meters.settle(&facets, &Cost::CALL, &Cost::CALL, now, true);
        calls += 1;
        if calls.is_multiple_of(PRUNE_EVERY) {
            meters.prune(now);
            tick += 40;
        }
    };
    for key in 0..keys {
        call(key);
    }
    let mut rounds: Vec<u64> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..CALLS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            call(random % keys);
        }
        rounds.push(begun.elapsed().as_nanos() as u64 / CALLS);
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

/// Median nanoseconds of a judgement of a message to everybody, where so many members had a message of their own each.
fn measure_broadcast(members: u64, cap: u64) -> u64 {
    let mut profile = shipped("wecom-2023", Operator::Corp).unwrap();
    for limit in &mut profile.limits {
        limit.cap = Cap::Fixed(if limit.name.starts_with("message-member") { cap } else { 4_000_000_000 });
    }
    let mut meters = Meters::new(&profile).unwrap();
    let now = Moment { tick: 1_700_000_000_000, at: 1_700_000_000_000 };
    let message =
        Facets { corp: 1, app: 2, api: 3, api_name: "message/send", egress_ip: 1, ..Facets::default() };
    let hashes: Vec<u64> = (1..=members).map(|member| member.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    for some in hashes.chunks(1_000) {
        let facets = Facets { members: some, ..message };
        meters.take(&facets, &Cost::CALL, now);
        meters.settle(&facets, &Cost::CALL, &Cost::CALL, now, true);
    }
    let broadcast = Facets { broadcast: true, ..message };
    let mut rounds: Vec<u64> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..CALLS {
            assert_eq!(black_box(meters.judge(&broadcast, &Cost::CALL, 1_000, now)).is_admitted(), cap > 1);
        }
        rounds.push(begun.elapsed().as_nanos() as u64 / CALLS);
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn main() {
    println!("ns for judge + take + settle");
    println!("{:<24}{:>10}{:>10}{:>10}", "keys", 1, 10, 100_000);
    let print = |name: &str, profile: &Profile| {
        let [one, ten, many] = [1, 10, 100_000].map(|keys| measure(profile, keys));
        println!("{name:<24}{one:>10}{ten:>10}{many:>10}");
    };
    for name in ["qyh-2015", "wecom-2020", "wecom-2023"] {
        print(name, &endless(name));
    }
    for limits in [2, 4, 6, 8, 10, 12] {
        print(&format!("{limits} limits"), &made_up(limits));
    }
    println!("\nns for judge of a message to everybody");
    println!("{:<24}{:>10}{:>10}{:>10}", "members", 1, 1_000, 100_000);
    for (name, cap) in [("wecom-2023, admitted", 4_000_000_000), ("wecom-2023, refused", 1)] {
        let [one, some, many] = [1, 1_000, 100_000].map(|members| measure_broadcast(members, cap));
        println!("{name:<24}{one:>10}{some:>10}{many:>10}");
    }
}
