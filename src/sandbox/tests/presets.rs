use serde_json::json;

use super::{DAY, HOUR, Sandbox};
use crate::sandbox::counters::{Counters, Demand, Key, Of};
use crate::sandbox::limits::{Caps, Row};
use crate::sandbox::{Config, Limits, Operator, WindowKind};

const ACCOUNTS: u32 = 500;
/// 2026-11-23 11:33:20 in Shanghai.
const NOW: i64 = 1_795_404_800_000;

fn demand(row: Row, caps: Caps, cost: u64) -> Demand {
    Demand { key: Key { row, of: Of::Corp(0), api: 0 }, caps, cost }
}

/// The caps of a row one by one, each with how long its block lasts from `NOW` on.
fn one_by_one(caps: Caps) -> impl Iterator<Item = (u64, Caps, i64)> {
    let none = Caps::default();
    let rest_of_the_day = DAY - (NOW + 8 * HOUR) % DAY;
    let all = [
        (caps.minute, Caps { minute: caps.minute, ..none }, 60_000),
        (caps.hour, Caps { hour: caps.hour, ..none }, HOUR),
        (caps.day, Caps { day: caps.day, ..none }, rest_of_the_day),
        (caps.month, Caps { month: caps.month, ..none }, 30 * DAY),
    ];
    all.into_iter().filter_map(|(cap, caps, block)| Some((cap?, caps, block)))
}

#[test]
fn every_row_of_every_preset_takes_its_cap_and_not_one_more_and_blocks_for_its_period() {
    let mut driven = 0;
    for name in Limits::preset_names() {
        let limits = Limits::named(name).unwrap();
        for row in Row::ALL {
            for (cap, caps, block) in one_by_one(row.caps(&limits, ACCOUNTS)) {
                for kind in [WindowKind::Sliding, WindowKind::ClockAligned] {
                    let mut counters = Counters::default();
                    let mut ask = |cost, now| counters.admit(&[demand(row, caps, cost)], now, kind);
                    assert_eq!(ask(cap - 1, NOW), [], "{name} {row:?}");
                    assert_eq!(ask(1, NOW), [], "{name} {row:?}");
                    assert_eq!(ask(1, NOW), [row], "{name} {row:?}");
                    let blocked = [NOW + 1, NOW + block - 1].map(|now| ask(0, now) == [row]);
                    assert_eq!(blocked, [row.blocks(); 2], "{name} {row:?}");
                    assert_eq!(ask(1, NOW + block), [], "{name} {row:?}");
                    driven += 1;
                }
            }
        }
    }
    assert!(driven > 90, "{driven}");
}

#[test]
fn presets_have_the_numbers_of_their_era() {
    let caps = |name, row: Row| {
        let caps = row.caps(&Limits::named(name).unwrap(), ACCOUNTS);
        [caps.minute, caps.hour, caps.day, caps.month].map(Option::unwrap_or_default)
    };
    let none = [0; 4];
    let expected = [
        (Row::CorpApi, [1_000, 30_000, 0, 0], [2_000, 30_000, 0, 0], [10_000, 150_000, 0, 0]),
        (Row::IpApi, [2_000, 60_000, 0, 0], [20_000, 600_000, 0, 0], [20_000, 600_000, 0, 0]),
        (Row::Messages, [0, 0, 15_000, 0], [0, 0, 15_000, 0], [0, 0, 100_000, 0]),
        (Row::MemberMessages, none, [30, 0, 0, 0], [30, 1_000, 0, 0]),
        (Row::Accounts, [0, 0, 0, 1_500], [0, 0, 0, 1_500], [0, 0, 0, 1_500]),
        (Row::JsapiTickets, none, [0, 400, 0, 0], [0, 400, 0, 0]),
        (Row::AppJsapiTickets, none, [0, 100, 0, 0], [0, 100, 0, 0]),
        (Row::AppAgentTickets, none, none, [0, 100, 0, 0]),
        (Row::AppchatCreates, none, [0, 0, 1_000, 0], [0, 0, 1_000, 0]),
        (Row::AppchatUpdates, none, [0, 100, 0, 0], [0, 1_000, 0, 0]),
        (Row::AppchatSends, none, [20_000, 200_000, 0, 0], [20_000, 300_000, 0, 0]),
        (Row::MemberAppchat, none, none, [200, 0, 10_000, 0]),
        (Row::Uploadimg, none, [0, 0, 100, 0], [0, 0, 1_000, 3_000]),
        (Row::Checkin, none, none, [600, 0, 0, 0]),
        (Row::Approval, none, none, [600, 0, 0, 0]),
        (Row::TrustedDomains, none, none, [0, 0, 0, 20]),
        (Row::Robot, none, [20, 0, 0, 0], [20, 0, 0, 0]),
    ];
    for (row, in_2015, in_2020, in_2023) in expected {
        let found = ["qyh-2015", "wecom-2020", "wecom-2023"].map(|name| caps(name, row));
        assert_eq!(found, [in_2015, in_2020, in_2023], "{row:?}");
    }
    for (name, expected) in [
        ("qyh-2015", [20_000, 600_000]),
        ("wecom-2020", [40_000, 1_200_000]),
        ("wecom-2023", [40_000, 1_200_000]),
    ] {
        let provider = Limits::preset(name, Operator::Provider).unwrap();
        assert_eq!([provider.ip_api_per_minute, provider.ip_api_per_hour], expected.map(Some), "{name}");
    }
}

#[tokio::test]
async fn presets_are_switched_while_it_runs() {
    let sandbox = Sandbox::unlimited();
    assert_eq!(sandbox.show("settings").await["preset"], "none");
    let set = async |settings| sandbox.control("settings", &settings).await;
    let provider = set(json!({"preset": "wecom-2023", "operator": "provider"})).await;
    assert_eq!(provider["limits"]["ip_api_per_minute"], 40_000);
    assert_eq!((&provider["preset"], &provider["operator"]), (&json!("wecom-2023"), &json!("provider")));
    let own = json!({"robot_per_minute": null, "appchat_creates_per_day": 7});
    let own = set(json!({"preset": "wecom-2020", "limits": own})).await;
    assert_eq!(own["preset"], json!(null));
    let found = ["robot_per_minute", "appchat_creates_per_day", "appchat_updates_per_hour"];
    assert_eq!(found.map(|name| own["limits"][name].clone()), [json!(null), json!(7), json!(100)]);
    assert_eq!(set(json!({"limits": "wecom-2020"})).await["preset"], "wecom-2020");
    assert_eq!(set(json!({"token_lifetime_secs": 60})).await["preset"], "wecom-2020", "limits stay");
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_and_change_nothing() {
    let sandbox = Sandbox::start(Config::default());
    for settings in [
        json!({"preset": "wecom-1999"}),
        json!({"limits": {"preset": 7}}),
        json!({"limits": {"corp_api_per_fortnight": 1}}),
        json!({"preset": "wecom-2023", "limits": "wecom-2020"}),
        json!({"limits": 5}),
    ] {
        let request = sandbox.http.post(sandbox.url("/sandbox/settings")).json(&settings);
        assert_eq!(request.send().await.unwrap().status(), 400, "{settings}");
    }
    assert_eq!(sandbox.show("settings").await["preset"], "qyh-2015");
}

#[test]
fn a_configuration_names_its_preset_and_what_differs() {
    let limits = |json| serde_json::from_value::<Config>(json!({ "limits": json })).unwrap().limits;
    assert_eq!(limits(json!("wecom-2023")), Limits::wecom_2023());
    let own = limits(json!({"preset": "wecom-2023", "robot_per_minute": 3}));
    assert_eq!(own, Limits { robot_per_minute: Some(3), ..Limits::wecom_2023() });
    let shown = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(serde_json::from_value::<Config>(shown).unwrap().limits, Limits::qyh_2015());
}
