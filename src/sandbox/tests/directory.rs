use serde_json::json;

use super::{Sandbox, errcode};
use crate::sandbox::{Config, CorpConfig, Limits};

#[tokio::test]
async fn members_can_be_created_read_changed_and_deleted() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let anna = json!({"userid": "Anna", "name": "Anna", "department": [2]});
    let created = sandbox.post("user/create", &token, &anna).await;
    assert_eq!((errcode(&created), &created["errmsg"]), (0, &json!("created")));
    assert_eq!(
        errcode(&sandbox.post("user/create", &token, &json!({"userid": "ANNA", "name": "A"})).await),
        60102
    );
    sandbox.post("user/update", &token, &json!({"userid": "anna", "position": "head"})).await;
    let query = [("access_token", token.as_str()), ("userid", "aNNa")];
    let read = sandbox.get("user/get", &query).await;
    assert_eq!((&read["userid"], &read["position"]), (&json!("Anna"), &json!("head")));
    assert_eq!(errcode(&sandbox.get("user/delete", &query).await), 0);
    assert_eq!(errcode(&sandbox.get("user/get", &query).await), 60111);
}

#[tokio::test]
async fn a_full_corp_takes_no_more_accounts() {
    let corps = vec![CorpConfig { account_cap: 12, ..CorpConfig::default() }];
    let sandbox = Sandbox::start(Config { corps, limits: Limits::none(), ..Config::default() });
    let token = sandbox.token().await;
    let answer = sandbox.post("user/create", &token, &json!({"userid": "anna", "name": "Anna"})).await;
    assert_eq!(errcode(&answer), 45024);
}

#[tokio::test]
async fn departments_form_a_tree() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let created = sandbox.post("department/create", &token, &json!({"name": "Mobile", "parentid": 2})).await;
    assert_eq!((errcode(&created), &created["id"]), (0, &json!(6)));
    let tree = sandbox.get("department/list", &[("access_token", &token), ("id", "2")]).await;
    let ids: Vec<_> = tree["department"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect();
    assert_eq!(ids, [2, 3, 6]);
    let query = [("access_token", token.as_str()), ("department_id", "2"), ("fetch_child", "1")];
    let members = sandbox.get("user/simplelist", &query).await;
    assert_eq!(members["userlist"].as_array().unwrap().len(), 6);
    let tag = sandbox.get("tag/get", &[("access_token", &token), ("tagid", "1")]).await;
    assert_eq!(tag["userlist"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn unknown_apis_are_ok_with_a_valid_token_only() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let answer = sandbox.get("some/new/api", &[("access_token", &token)]).await;
    assert_eq!(answer, json!({"errcode": 0, "errmsg": "ok"}));
    assert_eq!(errcode(&sandbox.get("some/new/api", &[]).await), 41001);
}

#[tokio::test]
async fn a_valid_login_code_is_outside_all_limits() {
    let limits = Limits { corp_api_per_minute: Some(1), ..Limits::none() };
    let sandbox = Sandbox::start(Config { limits, ..Config::default() });
    let token = sandbox.token().await;
    let ask = async |code: &str| {
        errcode(&sandbox.get("auth/getuserinfo", &[("access_token", &token), ("code", code)]).await)
    };
    for _ in 0..3 {
        assert_eq!(ask("code-lisi.1").await, 0);
    }
    assert_eq!((ask("wrong").await, ask("wrong").await), (40029, 45009));
}
