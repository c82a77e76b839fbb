//! Tests of the meters as a whole, and what they share.

use super::*;

mod clock_model_tests;
mod clock_tests;
mod crest_tests;
mod doc_tests;
mod keys_tests;
mod meters_tests;
mod model;
mod model_tests;
mod profile_tests;
mod rules_tests;
mod sliding_tests;
mod switch_tests;
mod targets_tests;
mod together_tests;
mod windows_tests;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Midnight in Shanghai, as a tick and as wall time: 2024-02-28.
const MIDNIGHT: i64 = 1_709_049_600_000;

/// Wall time that goes with ledger time.
fn at(tick: i64) -> Moment {
    Moment { tick, at: tick }
}

/// A profile as it is written, from lines such as `name | apis | scope | unit | window | cap | more`.
fn profile(lines: &[&str]) -> Profile {
    let mut text = "name = \"made-up\"\n".to_owned();
    for line in lines {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, apis, scope, unit, window, cap, more @ ..] = &fields[..] else { panic!("{line}") };
        let list = |text: &str| {
            let quoted: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let (apis, scope, more) = (list(apis), list(scope), more.join("\n"));
        text.push_str(
            &[
                "[[limit]]",
                &format!("name = \"{name}\""),
                &format!("apis = {apis}"),
                &format!("scope = {scope}"),
                &format!("unit = \"{unit}\""),
                &format!("window = \"{window}\""),
                &format!("cap = \"{cap}\""),
                "source = \"made up\"",
                &more,
                "",
            ]
            .join("\n"),
        );
    }
    Profile::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn meters(lines: &[&str]) -> Meters {
    Meters::new(&profile(lines)).unwrap()
}

/// A call of corp 1, app 2, API 3, IP 4 and API key 5.
fn call(api_name: &str) -> Facets<'_> {
    Facets { corp: 1, app: 2, api: 3, api_name, egress_ip: 4, api_key: 5, ..Facets::default() }
}

fn judge(meters: &Meters, facets: &Facets<'_>, now: Moment) -> Judgement {
    meters.judge(facets, &Cost::CALL, 500, now)
}

/// Admits and takes, if it is allowed.
fn take(meters: &mut Meters, facets: &Facets<'_>, now: Moment) -> bool {
    let admitted = judge(meters, facets, now).is_admitted();
    if admitted {
        meters.take(facets, &Cost::CALL, now);
    }
    admitted
}

fn post(meters: &mut Meters, facets: &Facets<'_>, now: Moment, ok: bool) {
    meters.settle(facets, &Cost::CALL, &Cost::CALL, now, ok);
}

/// Admits and settles at once, as long as it is allowed.
fn spend(meters: &mut Meters, facets: &Facets<'_>, count: usize, now: Moment) -> usize {
    let one = |_: &usize| {
        let admitted = take(meters, facets, now);
        if admitted {
            post(meters, facets, now, true);
        }
        admitted
    };
    (0..count).take_while(one).count()
}

fn refusal(judgement: Judgement) -> Refusal {
    match judgement {
        Judgement::Refused(refusal) => refusal,
        Judgement::Admitted { .. } => panic!("{judgement:?}"),
    }
}

/// What is used of a limit by what the call belongs to.
fn used(meters: &Meters, limit: &str, facets: &Facets<'_>, now: Moment) -> u64 {
    let cost = Cost { calls: 1, person_times: 1, accounts: 1, apps: 1, domains: 1, reads: 1 };
    let readings = meters.readings(facets, &cost, 500, now);
    readings.iter().find(|reading| &*reading.limit == limit).unwrap().used
}

/// Limit, used, cap and rule of everything that is used.
fn usage(meters: &Meters, now: Moment) -> Vec<(String, u64, u64, Rule)> {
    let rows = meters.usage(now, &Filter::default(), |_| 500, |_| "api");
    rows.iter()
        .map(|row| (row.reading.limit.to_string(), row.reading.used, row.reading.cap, row.reading.rule))
        .collect()
}
