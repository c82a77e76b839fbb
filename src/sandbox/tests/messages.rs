use serde_json::{Value, json};

use super::{AGENT, Sandbox, errcode};
use crate::sandbox::{Config, CorpConfig, Limits, MessageBudget, MessageScope};

async fn send(sandbox: &Sandbox, token: &str, to: &Value) -> Value {
    let mut body = json!({"msgtype": "text", "agentid": AGENT, "text": {"content": "hello"}});
    body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
    sandbox.post("message/send", token, &body).await
}

async fn last_message(sandbox: &Sandbox) -> Value {
    sandbox.show("messages").await["messages"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn a_message_reaches_each_member_once_and_names_what_is_invalid_in_lower_case() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let to = json!({"touser": "ZhangSan | NoBody|lisi", "toparty": "4 | 77", "totag": "1|99"});
    let answer = send(&sandbox, &token, &to).await;
    assert_eq!(errcode(&answer), 0);
    assert_eq!(
        (&answer["invaliduser"], &answer["invalidparty"], &answer["invalidtag"]),
        (&json!("nobody"), &json!("77"), &json!("99"))
    );
    let message = last_message(&sandbox).await;
    assert_eq!(message["to"], json!(["hesan", "lisi", "wangwu", "wujiu", "zhangsan"]));
    assert_eq!(message["content"], "hello");
    let counted = sandbox.post("message/get_statistics", &token, &json!({})).await;
    assert_eq!(counted["statistics"][0]["count"], message["to"].as_array().unwrap().len());
}

#[tokio::test]
async fn at_all_reaches_everybody_and_ignores_parties_and_tags() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let answer = send(&sandbox, &token, &json!({"touser": "@all", "toparty": "99", "totag": "99"})).await;
    assert_eq!((errcode(&answer), &answer["invalidparty"]), (0, &json!("")));
    assert_eq!(last_message(&sandbox).await["to"].as_array().unwrap().len(), 12);
}

#[tokio::test]
async fn recipients_that_cannot_be_served_are_refused_with_their_code() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let many = |n: usize| vec!["1"; n].join("|");
    let cases = [
        (json!({"touser": "nobody", "toparty": "99"}), 81013),
        (json!({}), 81012),
        (json!({"touser": "", "totag": " "}), 82001),
        (json!({"touser": many(1001)}), 40032),
        (json!({"touser": "lisi", "toparty": many(101)}), 82002),
        (json!({"touser": "lisi", "totag": many(101)}), 82003),
        (json!({"touser": "lisi", "agentid": 1_000_002}), 301_002),
        (json!({"touser": "lisi", "msgtype": null}), 40008),
    ];
    for (to, expected) in cases {
        assert_eq!(errcode(&send(&sandbox, &token, &to).await), expected, "{to}");
    }
    assert_eq!(sandbox.show("messages").await["last"], 0);
    let query = [("access_token", token.as_str())];
    assert_eq!(errcode(&sandbox.get("message/send", &query).await), 40058, "GET is no 405");
}

#[tokio::test]
async fn a_spent_day_is_refused_until_midnight_in_shanghai() {
    let budget = MessageBudget { factor: 1, scope: MessageScope::Corp };
    let limits = Limits { message_budget: Some(budget), ..Limits::none() };
    let corps = vec![CorpConfig { account_cap: 13, ..CorpConfig::default() }];
    let sandbox = Sandbox::start(Config { corps, limits, token_lifetime_secs: 200_000, ..Config::default() });
    let token = sandbox.token().await;
    assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "@all"})).await), 0);
    assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi|wangwu"})).await), 45009);
    assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi"})).await), 45009, "blocked");
    let day = 86_400_000;
    let now = sandbox.show("clock").await["now_ms"].as_i64().unwrap() + 8 * 3_600_000;
    sandbox.advance(day - now % day).await;
    assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi"})).await), 0);
    let yesterday = sandbox.post("message/get_statistics", &token, &json!({"time_type": 1})).await;
    assert_eq!(yesterday["statistics"][0]["count"], 12);
}

#[tokio::test]
async fn the_statistics_of_a_day_list_each_app_that_reached_somebody_and_know_no_older_day() {
    let sandbox = Sandbox::start(Config { token_lifetime_secs: 400_000, ..Config::default() });
    let day = 86_400_000;
    let now = sandbox.now().await + 8 * 3_600_000;
    sandbox.advance(day - now % day + day / 2).await; // noon in China
    let token = sandbox.token().await;
    let other = sandbox.gettoken("sandbox-secret-1000002").await["access_token"].as_str().unwrap().to_owned();
    let count = async |time_type: u32| {
        let counted = sandbox.post("message/get_statistics", &other, &json!({"time_type": time_type})).await;
        assert_eq!(errcode(&counted), 0);
        let of = |it: &Value| (it["agentid"].as_u64().unwrap(), it["count"].as_u64().unwrap());
        counted["statistics"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi|wangwu|nobody"})).await), 0);
    assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "nobody"})).await), 81013);
    assert_eq!((count(0).await, count(1).await), (vec![(u64::from(AGENT), 2)], vec![]));
    sandbox.advance(day).await;
    let to = json!({"touser": "lisi", "agentid": 1_000_002});
    assert_eq!(errcode(&send(&sandbox, &other, &to).await), 0);
    assert_eq!((count(0).await, count(1).await), (vec![(1_000_002, 1)], vec![(u64::from(AGENT), 2)]));
    sandbox.advance(day).await;
    assert_eq!((count(0).await, count(1).await), (vec![], vec![(1_000_002, 1)]));
    let wrong = sandbox.post("message/get_statistics", &other, &json!({"time_type": 2})).await;
    assert_eq!(errcode(&wrong), 40058);
}

#[tokio::test]
async fn too_many_messages_to_one_member_are_dropped_without_an_error() {
    let limits = Limits { member_messages_per_minute: Some(2), ..Limits::none() };
    let sandbox = Sandbox::start(Config { limits, ..Config::default() });
    let token = sandbox.token().await;
    for _ in 0..3 {
        assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi"})).await), 0);
    }
    let message = last_message(&sandbox).await;
    assert_eq!((&message["to"], &message["dropped"]), (&json!([]), &json!(["lisi"])));
    let counted = sandbox.post("message/get_statistics", &token, &json!({})).await;
    assert_eq!(counted["statistics"][0]["count"], 2, "only what reached somebody");
    let row = sandbox.row("member-messages").await;
    assert_eq!((&row["dropped"], &row["max_per_minute"]["sliding"]), (&json!(1), &json!(3)));
    assert_eq!(sandbox.show("stats").await["over"], 0, "nothing was refused");
}

#[tokio::test]
async fn the_hour_of_one_member_goes_on_when_the_minute_is_over() {
    let limits =
        Limits { member_messages_per_minute: Some(2), member_messages_per_hour: Some(3), ..Limits::none() };
    let sandbox = Sandbox::limited(limits);
    let token = sandbox.token().await;
    let mut reached = Vec::new();
    for wait in [0, 0, 60_000, 60_000, 3_600_000] {
        sandbox.advance(wait).await;
        send(&sandbox, &token, &json!({"touser": "lisi"})).await;
        reached.push(last_message(&sandbox).await["dropped"] == json!([]));
    }
    assert_eq!(reached, [true, true, true, false, true], "a drop begins no block");
}

#[tokio::test]
async fn a_day_s_messages_are_counted_by_app_or_by_corp() {
    for (scope, expected) in [(MessageScope::App, 0), (MessageScope::Corp, 45009)] {
        let budget = MessageBudget { factor: 1, scope };
        let corps = vec![CorpConfig { account_cap: 12, ..CorpConfig::default() }];
        let limits = Limits { message_budget: Some(budget), ..Limits::none() };
        let sandbox = Sandbox::start(Config { corps, limits, ..Config::default() });
        let token = sandbox.token().await;
        assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "@all"})).await), 0);
        assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi"})).await), 45009);
        let row = sandbox.row("messages").await;
        assert_eq!((&row["trips"], &row["max_per_day"]), (&json!(1), &json!(13)));
        let other =
            sandbox.gettoken("sandbox-secret-1000002").await["access_token"].as_str().unwrap().to_owned();
        let agent = json!({"touser": "lisi", "agentid": AGENT + 1});
        assert_eq!(errcode(&send(&sandbox, &other, &agent).await), expected, "{scope:?}");
    }
}

#[tokio::test]
async fn a_message_can_be_recalled_for_a_day() {
    let sandbox =
        Sandbox::start(Config { limits: Limits::none(), token_lifetime_secs: 200_000, ..Config::default() });
    let token = sandbox.token().await;
    let sent = send(&sandbox, &token, &json!({"touser": "lisi"})).await;
    let recall = json!({"msgid": sent["msgid"]});
    assert_eq!(errcode(&sandbox.post("message/recall", &token, &recall).await), 0);
    assert_eq!(last_message(&sandbox).await["recalled"], true);
    sandbox.advance(86_401_000).await;
    assert_eq!(errcode(&sandbox.post("message/recall", &token, &recall).await), 40035);
}

#[tokio::test]
async fn base_limits_count_messages_only_where_the_profile_says_so() {
    for (counts, expected) in [(true, 45009), (false, 0)] {
        let limits = Limits { corp_api_per_minute: Some(1), base_counts_messages: counts, ..Limits::none() };
        let sandbox = Sandbox::start(Config { limits, ..Config::default() });
        let token = sandbox.token().await;
        send(&sandbox, &token, &json!({"touser": "lisi"})).await;
        assert_eq!(errcode(&send(&sandbox, &token, &json!({"touser": "lisi"})).await), expected);
    }
}
