use chrono::{Datelike as _, NaiveDate};
use serde_json::json;

use super::{AGENT, DAY, HOUR, Sandbox, errcode};
use crate::sandbox::{Config, CorpConfig, Limits};

const SHANGHAI: i64 = 8 * HOUR;

/// The first instant of the month after `now` in Shanghai.
pub(super) fn start_of_next_month(now: i64) -> i64 {
    let today = chrono::DateTime::from_timestamp_millis(now + SHANGHAI).unwrap().date_naive();
    let first = NaiveDate::from_ymd_opt(today.year(), today.month(), 1).unwrap();
    let next = first.checked_add_months(chrono::Months::new(1)).unwrap();
    next.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_millis() - SHANGHAI
}

async fn create_chat(sandbox: &Sandbox, token: &str) -> i64 {
    errcode(&sandbox.post("appchat/create", token, &json!({"userlist": ["lisi", "wangwu"]})).await)
}

#[tokio::test]
async fn a_day_ends_at_midnight_in_shanghai_and_not_in_greenwich() {
    let sandbox = Sandbox::limited(Limits { appchat_creates_per_day: Some(1), ..Limits::none() });
    let token = sandbox.token().await;
    // An hour before midnight in Greenwich is in the morning in Shanghai.
    sandbox.advance(DAY - sandbox.now().await % DAY - HOUR).await;
    assert_eq!(create_chat(&sandbox, &token).await, 0);
    sandbox.advance(2 * HOUR).await;
    assert_eq!(create_chat(&sandbox, &token).await, 45009, "the same day in Shanghai");
    sandbox.advance(DAY - SHANGHAI - HOUR).await;
    assert_eq!(create_chat(&sandbox, &token).await, 0);
}

#[tokio::test]
async fn a_month_ends_with_its_last_day_in_shanghai() {
    let sandbox = Sandbox::limited(Limits { trusted_domains_per_month: Some(1), ..Limits::none() });
    let token = sandbox.token().await;
    let set = async || {
        let domain = json!({"agentid": AGENT, "redirect_domain": "www.example.com"});
        errcode(&sandbox.post("agent/set", &token, &domain).await)
    };
    let now = sandbox.now().await;
    sandbox.advance(start_of_next_month(now) - now - 60_000).await;
    assert_eq!((set().await, set().await), (0, 85004));
    sandbox.advance(60_000).await;
    assert_eq!((set().await, set().await), (0, 85004));
}

#[tokio::test]
async fn a_month_too_many_blocks_for_thirty_days_across_the_month_s_end() {
    let corps = vec![CorpConfig { account_cap: 13, ..CorpConfig::default() }];
    let limits = Limits { account_creations_factor: Some(1), ..Limits::none() };
    let token_lifetime_secs = 1_000_000_000;
    let sandbox = Sandbox::start(Config { corps, limits, token_lifetime_secs, ..Config::default() });
    let token = sandbox.token().await;
    let create = async || {
        let created = sandbox.post("user/create", &token, &json!({"userid": "anna", "name": "Anna"})).await;
        sandbox.get("user/delete", &[("access_token", &token), ("userid", "anna")]).await;
        errcode(&created)
    };
    let now = sandbox.now().await;
    sandbox.advance(start_of_next_month(now) - now - HOUR).await;
    for n in 0..13 {
        assert_eq!(create().await, 0, "{n}");
    }
    assert_eq!(create().await, 45009);
    sandbox.advance(2 * HOUR).await;
    assert_eq!(create().await, 45009, "a new month, and the block goes on");
    sandbox.advance(30 * DAY - 2 * HOUR).await;
    assert_eq!(create().await, 0);
    assert_eq!(sandbox.row("accounts").await["max_per_month"], 14);
}
