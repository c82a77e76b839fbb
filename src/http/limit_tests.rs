//! Which limits hold, and who may change them.

use serde_json::json;

use super::tests::{APPS, World};
use crate::ledger::command::{ApiKeyChange, ApiKeyEdit, Command, OwnChange, OwnNumber};
use crate::ledger::entry::Scope;

const LIMIT: &str = "corp-api-minute";

#[tokio::test]
async fn an_administrator_of_some_apps_changes_no_limit_of_all() {
    let world = World::new().await;
    let (_, of_one) = world.key(&[Scope::Admin], &APPS[..1]).await;
    let cap = json!({"cap": {"corp_id": "corp1", "limit": LIMIT, "cap": 5}});
    assert_eq!(world.post("/v1/limits", &of_one, &cap).await.problem(), (403, "not-allowed"));
    let check = json!({"check": {"toml": "name = \"mine\"\n"}});
    assert_ne!(world.post("/v1/limits", &of_one, &check).await.status, 403, "which changes nothing");
    assert_eq!(world.post("/v1/limits", &world.admin, &cap).await.status, 200);
}

#[tokio::test]
async fn no_more_limits_that_are_used_up_are_looked_for_than_are_wanted() {
    let world = World::new().await;
    for (corp_id, app) in ["corp1", "corp2"].into_iter().zip(APPS) {
        world.cap(corp_id, LIMIT, 1).await;
        world.reserve(&world.admin, app).await;
    }
    for (most, found) in [(1, 1), (2, 2), (9, 2)] {
        assert_eq!(super::usage::used_up(&world.state.ledger, most).await.unwrap().len(), found);
    }
}

#[tokio::test]
async fn a_key_of_some_apps_sees_no_cap_of_other_corps() {
    let world = World::new().await;
    for corp_id in ["corp1", "corp2", "*"] {
        world.cap(corp_id, LIMIT, 5).await;
    }
    let (_, of_one) = world.key(&[Scope::Report], &APPS[..1]).await;
    let seen = async |key: &str| {
        let list = world.get("/v1/limits", key).await.body;
        let overrides = list["overrides"].as_array().unwrap().iter();
        overrides.map(|it| it["corp_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&world.admin).await, ["*", "corp1", "corp2"]);
    assert_eq!(seen(&of_one).await, ["*", "corp1"]);
}

#[tokio::test]
async fn a_cap_that_was_not_learned_can_not_be_restored() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/limits", &world.admin).await.body["learned"], json!([]));
    let restored = world.post("/v1/limits", &world.admin, &json!({"restore": 1})).await;
    assert_eq!(restored.problem(), (404, "not-found"));
}

#[tokio::test]
async fn a_check_and_a_refusal_name_the_rule_that_holds_a_key_back() {
    let world = World::new().await;
    let (api_key, key) = world.key(&[Scope::Call], &[]).await;
    let own = vec![OwnChange { limit: LIMIT.to_owned(), number: OwnNumber::MaxSharePercent(Some(50)) }];
    let change = ApiKeyChange::Set(ApiKeyEdit { priority: None, own });
    world.act(Command::SetApiKey { api_key, change }).await;
    world.cap("corp1", LIMIT, 3).await;
    world.reserve(&key, APPS[0]).await;
    let call = json!({"app": APPS[0], "api": "message/send"});
    let checked = world.post("/v1/calls/check", &key, &call).await.body;
    let limits = checked["limits"].as_array().unwrap().iter().filter(|it| it["limit"] == LIMIT);
    let rules: Vec<_> = limits.map(|it| json!([it["rule"], it["used"], it["cap"]])).collect();
    assert_eq!(rules, [json!(["limit", 1, 3]), json!(["share", 1, 1])]);
    let refused = world.post("/v1/calls", &key, &call).await;
    assert_eq!(refused.header("ratelimit-policy"), "\"corp-api-minute\";q=1;w=60;rule=share");
    assert_eq!((&refused.body["rule"], &checked["problem"]["rule"]), (&json!("share"), &json!("share")));
    world.cap("corp1", LIMIT, 1).await;
    let never = world.post("/v1/calls", &key, &call).await;
    assert!(never.body["detail"].as_str().unwrap().contains("comes to 0"), "{}", never.text);
}
