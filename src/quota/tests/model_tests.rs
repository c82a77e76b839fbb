//! The meters against the naive model.

use proptest::prelude::*;

use super::model::{ACCOUNT_CAP, Call, NAMES, Op, World, at, every_key, ops, profile};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn readings_equal_a_recount_of_all_calls(profile in profile(), ops in ops()) {
        let mut world = World::new(&profile);
        for op in &ops {
            world.step(op);
            for like in every_key() {
                let readings = world.meters.readings(&like.facets(), &like.cost, ACCOUNT_CAP, at(world.now));
                let matching = profile.limits.iter().filter(|limit| limit.apis.matches(NAMES[like.api as usize]));
                prop_assert_eq!(readings.len(), matching.clone().count());
                for limit in matching {
                    let reading = readings.iter().find(|reading| reading.limit == limit.name).unwrap();
                    prop_assert_eq!(reading.used, world.bucketed(limit, &like), "{}", &limit.name);
                }
            }
        }
    }

    #[test]
    fn a_call_is_admitted_exactly_if_it_fits_every_limit(profile in profile(), ops in ops()) {
        let mut world = World::new(&profile);
        for op in &ops {
            if let Op::Call { corp, api, ip, persons } = *op {
                let cost = Cost { person_times: persons, ..Cost::CALL };
                let call = Call { corp, api, ip, cost, pending: 0, settled: None };
                let fits = |limit: &Limit, used: u64| {
                    let needed = cost.of(limit.unit);
                    needed == 0 || !limit.apis.matches(NAMES[api as usize])
                        || used + needed <= limit.cap.amount(ACCOUNT_CAP)
                };
                let expected = profile.limits.iter().all(|limit| fits(limit, world.bucketed(limit, &call)));
                // Had the windows been one percent longer, exact counting would have refused as well.
                let exact = profile.limits.iter().all(|limit| {
                    let longer = limit.window.longest_ms().unwrap() + limit.window.longest_ms().unwrap() / 100;
                    fits(limit, world.count(limit, &call, |settled| world.now <= settled + longer))
                });
                world.step(op);
                let admitted = world.judgements.last().unwrap().is_admitted();
                prop_assert_eq!(admitted, expected);
                prop_assert!(admitted || !exact, "refused although it fits a window one percent longer");
            } else {
                world.step(op);
            }
        }
    }

    #[test]
    fn no_interval_can_be_reached_by_more_calls_than_the_cap(profile in profile(), ops in ops()) {
        let world = World::run(&profile, &ops);
        for limit in &profile.limits {
            // The worst interval starts at some settlement, or ends at some pending.
            let starts = world.calls.iter().flat_map(|call| {
                [Some(call.pending - limit.window.longest_ms().unwrap()), call.settled].into_iter().flatten()
            });
            for start in starts {
                let end = start + limit.window.longest_ms().unwrap();
                for like in every_key().filter(|like| limit.apis.matches(NAMES[like.api as usize])) {
                    let reaches = |call: &&Call| {
                        call.shares_key(limit, &like)
                            && call.pending <= end
                            && call.settled.is_none_or(|settled| settled >= start)
                    };
                    let sum: u64 = world.calls.iter().filter(reaches).map(|call| call.cost.of(limit.unit)).sum();
                    prop_assert!(sum <= limit.cap.amount(ACCOUNT_CAP), "{} in {}..={}", limit.name, start, end);
                }
            }
        }
    }

    #[test]
    fn no_window_over_random_arrivals_exceeds_the_cap(
        profile in profile(), ops in ops(), moments in proptest::collection::vec(0..=1_000_i64, 250)
    ) {
        let world = World::run(&profile, &ops);
        let arrivals: Vec<(i64, &Call)> = world.calls.iter().zip(&moments).map(|(call, per_mille)| {
            let span = call.settled.unwrap_or(world.now) - call.pending;
            (call.pending + span * per_mille / 1_000, call)
        }).collect();
        for limit in &profile.limits {
            for (first, like) in &arrivals {
                let window = *first..=*first + limit.window.longest_ms().unwrap();
                let sum: u64 = arrivals.iter()
                    .filter(|(at, call)| window.contains(at) && call.shares_key(limit, like))
                    .map(|(_, call)| call.cost.of(limit.unit))
                    .sum();
                prop_assert!(sum <= limit.cap.amount(ACCOUNT_CAP), "{} from {}", limit.name, first);
            }
        }
    }

    #[test]
    fn pruning_and_reloading_change_no_judgement(profile in profile(), ops in ops()) {
        let plain: Vec<Op> = ops.iter().filter(|op| !matches!(op, Op::Prune | Op::Reload)).cloned().collect();
        let (with, without) = (World::run(&profile, &ops), World::run(&profile, &plain));
        prop_assert_eq!(&with.judgements, &without.judgements);
        let usage = |world: &World| world.meters.usage(at(world.now), &Filter::default(), |_| ACCOUNT_CAP, |api| NAMES[api as usize]);
        prop_assert_eq!(usage(&with), usage(&without));
    }

    #[test]
    fn the_retry_tick_is_the_first_at_which_the_call_passes(profile in profile(), ops in ops()) {
        let mut world = World::new(&profile);
        for op in &ops {
            world.step(op);
            for like in every_key() {
                let judge = |tick| world.meters.judge(&like.facets(), &like.cost, ACCOUNT_CAP, at(tick));
                let Judgement::Refused(refusal) = judge(world.now) else { continue };
                let retry = refusal.retry_at.unwrap();
                prop_assert!(!judge(retry - 1).is_admitted());
                let open = world.calls.iter().any(|call| call.settled.is_none());
                prop_assert!(open || judge(retry).is_admitted());
            }
        }
    }
}
