use serde_json::json;

use super::{CORP, Sandbox, errcode};
use crate::sandbox::counters::Window;
use crate::sandbox::{Config, CorpConfig, Limits, WindowKind};

fn limited(limits: Limits, windows: WindowKind) -> Sandbox {
    Sandbox::start(Config { windows, limits, ..Config::default() })
}

fn ten_a_minute() -> Limits {
    Limits { corp_api_per_minute: Some(10), ..Limits::none() }
}

/// Ten calls just before a full minute.
async fn fill_a_minute(sandbox: &Sandbox) -> String {
    let token = sandbox.token().await;
    let now = sandbox.show("clock").await["now_ms"].as_i64().unwrap();
    sandbox.advance(60_000 - now % 60_000 + 57_000).await;
    for _ in 0..10 {
        assert_eq!(sandbox.read(&token).await, 0);
    }
    sandbox.advance(3_000).await;
    token
}

#[tokio::test]
async fn clock_aligned_windows_take_a_full_load_on_both_sides_of_the_minute() {
    let sandbox = limited(ten_a_minute(), WindowKind::ClockAligned);
    let token = fill_a_minute(&sandbox).await;
    for _ in 0..10 {
        assert_eq!(sandbox.read(&token).await, 0);
    }
    assert_eq!(sandbox.read(&token).await, 45009);
}

#[tokio::test]
async fn sliding_windows_see_across_the_minute() {
    let sandbox = limited(ten_a_minute(), WindowKind::Sliding);
    let token = fill_a_minute(&sandbox).await;
    assert_eq!(sandbox.read(&token).await, 45009);
    let stats = sandbox.show("stats").await;
    let of_api = |w: &&serde_json::Value| w["api"] == "user/get";
    let window = stats["windows"].as_array().unwrap().iter().find(of_api).unwrap();
    assert_eq!(window["max_per_minute"]["sliding"], 11, "the excess is seen: {window}");
    assert_eq!(window["trips"], 1);
}

#[test]
fn a_call_exactly_one_window_later_is_in_the_next_window() {
    let mut window = Window::default();
    window.roll(1_000, 60_000);
    window.add(1, 1_000);
    window.roll(60_999, 60_000);
    assert!(window.is_over(Some(1), 1, WindowKind::Sliding));
    window.roll(61_000, 60_000);
    assert!(!window.is_over(Some(1), 1, WindowKind::Sliding));
}

#[tokio::test]
async fn the_minute_penalty_ends_sixty_seconds_after_the_trip() {
    let sandbox = limited(ten_a_minute(), WindowKind::Sliding);
    let token = fill_a_minute(&sandbox).await;
    sandbox.advance(50_000).await;
    assert_eq!(sandbox.read(&token).await, 45009, "this one trips");
    sandbox.advance(50_000).await;
    assert_eq!(sandbox.read(&token).await, 45009, "the window is empty, the penalty is not over");
    sandbox.advance(10_000).await;
    assert_eq!(sandbox.read(&token).await, 0);
}

#[tokio::test]
async fn the_hour_penalty_ends_an_hour_after_the_trip() {
    let sandbox = limited(Limits { corp_api_per_hour: Some(3), ..Limits::none() }, WindowKind::Sliding);
    let token = sandbox.token().await;
    for expected in [0, 0, 0, 45009] {
        assert_eq!(sandbox.read(&token).await, expected);
    }
    sandbox.advance(3_580_000).await;
    assert_eq!(sandbox.read(&token).await, 45009);
    sandbox.advance(20_000).await;
    assert_eq!(sandbox.read(&token).await, 0);
}

#[tokio::test]
async fn corps_behind_one_ip_share_its_limit_whatever_a_header_says() {
    let limits = Limits { ip_api_per_minute: Some(3), ..Limits::none() };
    let corps = vec![CorpConfig::default(), CorpConfig::new("ww-other", 10)];
    let sandbox = Sandbox::start(Config { corps, limits, ..Config::default() });
    let ask = |corp: &str, forwarded: &str| {
        let query = [("corpid", corp), ("corpsecret", "sandbox-secret-1000001")];
        let url = sandbox.url("/cgi-bin/gettoken");
        sandbox.http.get(url).query(&query).header("x-forwarded-for", forwarded).send()
    };
    for (corp, from) in [(CORP, "192.0.2.1"), ("ww-other", "192.0.2.2"), (CORP, "192.0.2.3")] {
        assert_eq!(errcode(&ask(corp, from).await.unwrap().json().await.unwrap()), 0);
    }
    let refused = ask("ww-other", "192.0.2.4").await.unwrap();
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["error-code"], "45009");
    let text = refused.text().await.unwrap();
    assert!(text.contains("api freq out of limit, hint: [") && text.contains("from ip: 127.0.0.1"), "{text}");
}

#[tokio::test]
async fn debug_calls_are_limited_to_five_a_minute() {
    let limits = Limits { debug_per_minute: Some(5), ..Limits::none() };
    let sandbox = limited(limits, WindowKind::Sliding);
    let token = sandbox.token().await;
    let query = [("access_token", token.as_str()), ("userid", "lisi"), ("debug", "1")];
    for expected in [0, 0, 0, 0, 0, 45009] {
        assert_eq!(errcode(&sandbox.get("user/get", &query).await), expected);
    }
    assert_eq!(sandbox.read(&token).await, 0);
}

#[tokio::test]
async fn limits_can_be_changed_while_it_runs() {
    let sandbox = limited(ten_a_minute(), WindowKind::Sliding);
    let token = fill_a_minute(&sandbox).await;
    sandbox.control("settings", &json!({"limits": {"corp_api_per_minute": 12}})).await;
    for expected in [0, 0, 45009] {
        assert_eq!(sandbox.read(&token).await, expected);
    }
    sandbox.control("settings", &json!({"limits": "none"})).await;
    assert_eq!(sandbox.read(&token).await, 0);
}
