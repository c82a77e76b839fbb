use serde_json::json;

use super::{AGENT, CORP, Sandbox, errcode};
use crate::sandbox::{Config, CorpConfig, Limits};

#[tokio::test]
async fn each_app_gets_a_token_of_its_own_with_7200_seconds() {
    let sandbox = Sandbox::unlimited();
    let first = sandbox.gettoken("sandbox-secret-1000001").await;
    let second = sandbox.gettoken("sandbox-secret-1000002").await;
    assert_eq!((errcode(&first), &first["expires_in"]), (0, &json!(7200)));
    assert_ne!(first["access_token"], second["access_token"]);
    let length = first["access_token"].as_str().unwrap().len();
    assert!((64..=512).contains(&length), "{length}");
    let foreign = [("access_token", first["access_token"].as_str().unwrap()), ("agentid", "1000002")];
    assert_eq!(errcode(&sandbox.get("agent/get", &foreign).await), 301_002);
}

#[tokio::test]
async fn a_token_dies_when_its_lifetime_is_over() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    sandbox.advance(7_190_000).await;
    assert_eq!(sandbox.read(&token).await, 0);
    sandbox.advance(10_000).await;
    assert_eq!(sandbox.read(&token).await, 42001);
    assert_ne!(sandbox.token().await, token);
}

#[tokio::test]
async fn a_revoked_token_answers_40014_and_the_next_one_is_new() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let app = json!({"corp_id": CORP, "agent_id": AGENT});
    assert_eq!(sandbox.control("revoke", &app).await["revoked"], 1);
    assert_eq!(sandbox.read(&token).await, 40014);
    let newer = sandbox.token().await;
    assert_ne!(newer, token);
    assert_eq!(sandbox.read(&newer).await, 0);
}

#[tokio::test]
async fn a_repeated_fetch_gives_the_same_token_only_if_switched_so() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    sandbox.advance(1_000_000).await;
    let again = sandbox.gettoken("sandbox-secret-1000001").await;
    assert_eq!(again["access_token"], token.as_str());
    assert!((6190..=6200).contains(&again["expires_in"].as_i64().unwrap()), "{again}");

    sandbox.control("settings", &json!({"refetch_lifetime": "full"})).await;
    assert_eq!(sandbox.gettoken("sandbox-secret-1000001").await["expires_in"], 7200);

    sandbox.control("settings", &json!({"same_token_on_refetch": false})).await;
    let newer = sandbox.token().await;
    assert_ne!(newer, token);
    assert_eq!(sandbox.read(&token).await, 0, "the older token stays valid");
}

#[tokio::test]
async fn a_changed_secret_kills_the_old_tokens() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    sandbox.control("secret", &json!({"corp_id": CORP, "agent_id": AGENT, "secret": "changed"})).await;
    assert_eq!(sandbox.read(&token).await, 40014);
    assert_eq!(errcode(&sandbox.gettoken("sandbox-secret-1000001").await), 40001);
    assert_eq!(errcode(&sandbox.gettoken("changed").await), 0);
}

#[tokio::test]
async fn wrong_or_missing_credentials_get_their_own_codes() {
    let mut other = CorpConfig::new("ww-other", 10);
    other.apps[0].secret = "secret-of-another".to_owned();
    let corps = vec![CorpConfig::default(), other];
    let sandbox = Sandbox::start(Config { corps, limits: Limits::none(), ..Config::default() });
    let cases: [(&[(&str, &str)], i64); 5] = [
        (&[("corpsecret", "x")], 41002),
        (&[("corpid", CORP)], 41004),
        (&[("corpid", "ww-nobody"), ("corpsecret", "x")], 40013),
        (&[("corpid", CORP), ("corpsecret", "x")], 40001),
        (&[("corpid", CORP), ("corpsecret", "secret-of-another")], 40091),
    ];
    for (query, expected) in cases {
        assert_eq!(errcode(&sandbox.get("gettoken", query).await), expected, "{query:?}");
    }
    assert_eq!(errcode(&sandbox.get("user/get", &[("userid", "lisi")]).await), 41001);
    assert_eq!(sandbox.read("no-token-of-ours").await, 40014);
}

#[tokio::test]
async fn five_wrong_secrets_ban_the_ip_from_gettoken_for_an_hour() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    for _ in 0..5 {
        assert_eq!(errcode(&sandbox.gettoken("wrong").await), 40001);
    }
    assert_eq!(errcode(&sandbox.gettoken("sandbox-secret-1000002").await), 45009);
    assert_eq!(sandbox.read(&token).await, 0, "only gettoken is banned");
    sandbox.advance(3_590_000).await;
    assert_eq!(errcode(&sandbox.gettoken("sandbox-secret-1000002").await), 45009);
    sandbox.advance(10_000).await;
    assert_eq!(errcode(&sandbox.gettoken("sandbox-secret-1000002").await), 0);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_tokens() {
    let seeded = || Sandbox::start(Config { seed: Some(7), ..Config::default() });
    assert_eq!(seeded().token().await, seeded().token().await);
    assert_ne!(seeded().token().await, Sandbox::unlimited().token().await);
}
