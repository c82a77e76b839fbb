//! Every row of the profiles that ship, each by its name: driven to its cap as it ships, and one over.
//!
//! The last one that fits passes. One over is refused by the row that is meant, with `used` equal to `cap`, and passes at
//! the moment that the refusal names, not a millisecond earlier. Other rows are respected on the way: the clock moves
//! on, or another app or corp goes on. Rows of which no call takes anything are declared; one in shadow mode refuses nothing.

mod core;
mod drive;

use std::collections::BTreeSet;

use crate::quota::{Operator, shipped, shipped_names};
use core::Core;
use drive::{Load, calls, declared, drive, row_of};

macro_rules! rows {
    ($($profile:ident { $($row:ident: $load:expr,)* })*) => {
        $(mod $profile {
            use super::*;

            $(#[test]
            fn $row() {
                drive(&row_of(stringify!($profile), stringify!($row)), &$load);
            })*
        })*

        /// Each test, by the names of its profile and its row.
        const TESTS: &[(&str, &str)] = &[$($((stringify!($profile), stringify!($row)),)*)*];
    };
}

// A row for providers only begins with `provider_`.
rows! {
    qyh_2015 {
        corp_api_minute: calls("user/get"),
        corp_api_hour: calls("user/get"),
        ip_api_minute: calls("user/get").of_corps(3),
        ip_api_hour: calls("user/get").of_corps(3),
        provider_ip_api_minute: calls("user/get").of_corps(21),
        provider_ip_api_hour: calls("user/get").of_corps(21),
        messages_corp_day: calls("message/send").sent_to_members(50),
        accounts_month: calls("user/create").making_an_account(),
        apps_total: declared(),
        apps_month: declared(),
    }
    wecom_2020 {
        corp_api_minute: calls("user/get"),
        corp_api_hour: calls("user/get"),
        ip_api_minute: calls("user/get").of_corps(11),
        ip_api_hour: calls("user/get").of_corps(21),
        provider_ip_api_minute: calls("user/get").of_corps(21),
        provider_ip_api_hour: calls("user/get").of_corps(41),
        messages_corp_day: calls("message/send").sent_to_members(50),
        message_member_minute: calls("message/send").sent_to_members(1),
        accounts_month: calls("user/create").making_an_account(),
        apps_total: declared(),
        apps_month: declared(),
        jsapi_ticket_corp_hour: calls("get_jsapi_ticket").of_apps(5),
        jsapi_ticket_app_hour: calls("get_jsapi_ticket"),
        appchat_create_day: calls("appchat/create"),
        appchat_update_hour: calls("appchat/update"),
        appchat_send_minute: calls("appchat/send").sent_to_a_chat_of_unknown_size(),
        appchat_send_hour: calls("appchat/send").sent_to_a_chat_of_unknown_size(),
        uploadimg_day: calls("media/uploadimg"),
        robot_minute: calls("webhook/send").sent_to_a_robot(),
    }
    wecom_2023 {
        corp_api_minute: calls("user/get"),
        corp_api_hour: calls("user/get"),
        ip_api_minute: calls("user/get").of_corps(3),
        ip_api_hour: calls("user/get").of_corps(5),
        provider_ip_api_minute: calls("user/get").of_corps(5),
        provider_ip_api_hour: calls("user/get").of_corps(9),
        messages_app_day: calls("message/send").sent_to_members(50),
        message_member_minute: calls("message/send").sent_to_members(1),
        message_member_hour: calls("message/send").sent_to_members(1),
        accounts_month: calls("user/create").making_an_account(),
        apps_total: declared(),
        apps_month: declared(),
        domains_month: calls("agent/set").setting_a_domain(),
        checkin_minute: calls("checkin/getcheckindata"),
        approval_minute: calls("corp/getapprovaldata"),
        jsapi_ticket_corp_hour: calls("get_jsapi_ticket").of_apps(5),
        jsapi_ticket_app_hour: calls("get_jsapi_ticket"),
        agent_ticket_app_hour: calls("ticket/get"),
        appchat_create_day: calls("appchat/create"),
        appchat_update_hour: calls("appchat/update"),
        appchat_send_minute: calls("appchat/send").sent_to_a_chat_of_unknown_size(),
        appchat_send_hour: calls("appchat/send").sent_to_a_chat_of_unknown_size(),
        appchat_member_minute: calls("appchat/send").sent_to_a_chat_of_two(),
        appchat_member_day: calls("appchat/send").sent_to_a_chat_of_two(),
        uploadimg_day: calls("media/uploadimg"),
        uploadimg_month: calls("media/uploadimg"),
        robot_minute: calls("webhook/send").sent_to_a_robot(),
        tag_concurrent: calls("externalcontact/mark_tag"),
        getuserid_wrong_day: calls("user/getuserid").answered(60_111),
        article_reads: declared(),
        wedrive_month: calls("wedrive/file_list"),
    }
}

#[test]
fn every_row_of_every_profile_that_ships_has_a_test_of_its_name() {
    let mut rows = BTreeSet::new();
    for profile in shipped_names() {
        for operator in [Operator::Corp, Operator::Provider] {
            for limit in shipped(profile, operator).unwrap().limits {
                let provider = if limit.operator == Some(Operator::Provider) { "provider_" } else { "" };
                rows.insert((
                    profile.replace('-', "_"),
                    format!("{provider}{}", limit.name.replace('-', "_")),
                ));
            }
        }
    }
    let tests: BTreeSet<_> =
        TESTS.iter().map(|(profile, row)| (profile.to_string(), row.to_string())).collect();
    assert_eq!(rows, tests);
}

/// The account cap is shared by what calls create and what an import did.
#[test]
fn accounts_that_an_import_created_are_declared_and_leave_fewer_to_calls() {
    let mut core = Core::new("qyh-2015", Operator::Corp, 1, 1);
    core.declare("accounts", 298, 0);
    let load: Load = calls("user/create").making_an_account();
    let app = core.apps[0];
    for _ in 0..2 {
        let pending = core.attempt(app, &load).unwrap();
        core.settle(pending, 0);
    }
    let refused = core.attempt(app, &load).unwrap_err();
    assert_eq!((refused.limit.as_str(), refused.used, refused.cap), ("accounts-month", 300, 300));
}
