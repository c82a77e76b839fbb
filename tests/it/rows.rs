//! Every row of the profiles through the gateway, in front of a WeCom of the same era: the cap is reached, one over is
//! refused by us in that row's name, nothing of it reaches WeCom, and WeCom itself never refuses or drops anything.
//!
//! The numbers are those that ship, up to about a thousand calls. Where it would take thousands the cap is lowered by
//! `limits set`: those rows say `lowered_to`. Every cap as it ships is reached in `src/ledger/tests/profile_rows`.

#![cfg(feature = "test-clock")]

mod stage;

use std::collections::BTreeSet;

use serde_json::json;
use wecom_ledger::quota::{Operator, shipped, shipped_names};

use stage::Stage;

/// A row, and how its cap is reached.
#[derive(Clone)]
struct Row {
    api: &'static str,
    /// How many calls the cap is.
    calls: usize,
    lowered: bool,
    /// So many calls, then a minute passes: because of other rows.
    wave: usize,
    accounts: u64,
    apps: u64,
}

fn row(api: &'static str, calls: usize) -> Row {
    Row { api, calls, lowered: false, wave: calls, accounts: 500, apps: 1 }
}

/// No call counts: `cap` is declared.
fn declared(cap: usize) -> Row {
    row("", cap)
}

impl Row {
    /// `limits set` to the number of calls.
    fn lowered_to(api: &'static str, calls: usize) -> Self {
        Self { lowered: true, ..row(api, calls) }
    }

    fn in_waves_of(self, wave: usize) -> Self {
        Self { wave, ..self }
    }

    /// The account cap, here and at WeCom.
    fn accounts(self, accounts: u64) -> Self {
        Self { accounts, ..self }
    }

    fn apps(self, apps: u64) -> Self {
        Self { apps, ..self }
    }
}

macro_rules! rows {
    ($($profile:ident { $($row:ident: $how:expr,)* })*) => {
        $(mod $profile {
            use super::*;

            $(#[tokio::test]
            async fn $row() {
                drive(stringify!($profile), stringify!($row), $how).await;
            })*
        })*

        const TESTS: &[(&str, &str)] = &[$($((stringify!($profile), stringify!($row)),)*)*];
    };
}

rows! {
    qyh_2015 {
        corp_api_minute: row("user/get", 1_000),
        corp_api_hour: Row::lowered_to("user/get", 40),
        ip_api_minute: Row::lowered_to("user/get", 40),
        ip_api_hour: Row::lowered_to("user/get", 40),
        provider_ip_api_minute: Row::lowered_to("user/get", 40),
        provider_ip_api_hour: Row::lowered_to("user/get", 40),
        messages_corp_day: row("message/send", 150).accounts(5),
        accounts_month: row("user/create", 39).accounts(13),
        apps_total: declared(30),
        apps_month: declared(90),
    }
    wecom_2020 {
        corp_api_minute: Row::lowered_to("user/get", 40),
        corp_api_hour: Row::lowered_to("user/get", 40),
        ip_api_minute: Row::lowered_to("user/get", 40),
        ip_api_hour: Row::lowered_to("user/get", 40),
        provider_ip_api_minute: Row::lowered_to("user/get", 40),
        provider_ip_api_hour: Row::lowered_to("user/get", 40),
        messages_corp_day: row("message/send", 60).in_waves_of(30).accounts(2),
        message_member_minute: row("message/send", 30),
        accounts_month: row("user/create", 39).accounts(13),
        apps_total: declared(30),
        apps_month: declared(90),
        jsapi_ticket_corp_hour: row("get_jsapi_ticket", 400).apps(5),
        jsapi_ticket_app_hour: row("get_jsapi_ticket", 100),
        appchat_create_day: row("appchat/create", 1_000),
        appchat_update_hour: row("appchat/update", 100),
        // Ten messages to a group of unknown size: 2,000 person-times each.
        appchat_send_minute: row("appchat/send", 10).accounts(2_000),
        appchat_send_hour: row("appchat/send", 100).in_waves_of(10).accounts(2_000),
        uploadimg_day: row("media/uploadimg", 100),
        robot_minute: row("webhook/send", 20),
    }
    wecom_2023 {
        corp_api_minute: Row::lowered_to("user/get", 40),
        corp_api_hour: Row::lowered_to("user/get", 40),
        ip_api_minute: Row::lowered_to("user/get", 40),
        ip_api_hour: Row::lowered_to("user/get", 40),
        provider_ip_api_minute: Row::lowered_to("user/get", 40),
        provider_ip_api_hour: Row::lowered_to("user/get", 40),
        messages_app_day: row("message/send", 200).in_waves_of(30).accounts(1),
        message_member_minute: row("message/send", 30),
        message_member_hour: row("message/send", 1_000).in_waves_of(30),
        accounts_month: row("user/create", 39).accounts(13),
        apps_total: declared(300),
        apps_month: declared(900),
        domains_month: row("agent/set", 20),
        checkin_minute: row("checkin/getcheckindata", 600),
        approval_minute: row("corp/getapprovaldata", 600),
        jsapi_ticket_corp_hour: row("get_jsapi_ticket", 400).apps(5),
        jsapi_ticket_app_hour: row("get_jsapi_ticket", 100),
        agent_ticket_app_hour: row("ticket/get", 100),
        appchat_create_day: row("appchat/create", 1_000),
        appchat_update_hour: row("appchat/update", 1_000),
        appchat_send_minute: row("appchat/send", 10).accounts(2_000),
        appchat_send_hour: row("appchat/send", 150).in_waves_of(10).accounts(2_000),
        appchat_member_minute: row("appchat/send", 200),
        appchat_member_day: Row::lowered_to("appchat/send", 40),
        uploadimg_day: row("media/uploadimg", 1_000),
        uploadimg_month: Row::lowered_to("media/uploadimg", 40),
        robot_minute: row("webhook/send", 20),
        tag_concurrent: row("externalcontact/mark_tag", 5),
        getuserid_wrong_day: row("user/getuserid", 1).accounts(5),
        article_reads: declared(15).accounts(5),
        wedrive_month: Row::lowered_to("wedrive/file_list", 40),
    }
}

#[test]
fn every_row_of_every_profile_that_ships_has_a_test_of_its_name() {
    let mut rows = BTreeSet::new();
    for profile in shipped_names() {
        for operator in [Operator::Corp, Operator::Provider] {
            for limit in shipped(profile, operator).unwrap().limits {
                let provider = if limit.operator == Some(Operator::Provider) { "provider_" } else { "" };
                let row = limit.name.replace('-', "_");
                rows.insert((profile.replace('-', "_"), format!("{provider}{row}")));
            }
        }
    }
    let tests: BTreeSet<_> =
        TESTS.iter().map(|(profile, row)| (profile.to_string(), row.to_string())).collect();
    assert_eq!(rows, tests);
}

async fn drive(profile: &str, name: &str, row: Row) {
    let (era, provider) = (profile.replace('_', "-"), name.starts_with("provider_"));
    let limit = name.trim_start_matches("provider_").replace('_', "-");
    let stage = Stage::new(&era, provider, limit, row).await;
    match stage.limit.as_str() {
        "apps-total" | "apps-month" | "article-reads" => return stage.declare(),
        "tag-concurrent" => stage.at_the_same_time().await,
        "wedrive-month" => stage.in_shadow().await,
        _ => stage.by_calls().await,
    }
    let stats = stage.sandbox.get("stats").await;
    assert_eq!((&stats["over"], &stats["dropped"]), (&json!(0), &json!(0)), "{}", stats["over_by_row"]);
}
