//! WeCom's blocks, and what is told of them.

use serde_json::{Value, json};

use super::tests::{APPS, World};
use crate::ledger::entry::Scope;
use crate::ledger::{Command, Seq};
use crate::quota::Operator;

impl World {
    async fn answered(&self, key: &str, app: &str, errcode: i64) -> Seq {
        let call = self.reserve(key, app).await;
        let answer = json!({"errcode": errcode, "errmsg": "api freq out of limit, hint: [1576065934_28_e0fa], from ip: 203.0.113.7"});
        let posted = self.post(&format!("/v1/calls/{call}/post"), key, &answer).await;
        posted.body["seq"].as_u64().unwrap() + 1
    }
}

#[tokio::test]
async fn what_reads_much_waits_for_its_turn_and_holds_up_nothing_else() {
    let world = World::new().await;
    let seq = world.answered(&world.admin, APPS[0], 45009).await;
    let places = (world.state.slow().await.unwrap(), world.state.slow().await.unwrap());
    assert_eq!(world.get(&format!("/v1/entries/{seq}"), &world.admin).await.status, 200);
    // From here on time passes when nothing else can happen.
    tokio::time::pause();
    for path in [&*format!("/v1/incidents/{seq}"), "/v1/entries?kind=call.refused"] {
        let busy = world.get(path, &world.admin).await;
        assert_eq!((busy.problem(), busy.header("retry-after")), ((503, "busy"), "1"), "{path}");
    }
    tokio::time::resume();
    drop(places);
    assert_eq!(world.get(&format!("/v1/incidents/{seq}"), &world.admin).await.status, 200);
}

#[tokio::test]
async fn an_incident_says_what_was_counted_and_who_had_spent_it() {
    let world = World::new().await;
    let (batch_id, batch) = world.key(&[Scope::Call], &[]).await;
    let (_, other) = world.key(&[Scope::Call], &[]).await;
    for _ in 0..3 {
        world.answered(&batch, APPS[0], 0).await;
    }
    let call = world.reserve(&batch, APPS[0]).await;
    world.post(&format!("/v1/calls/{call}/void"), &batch, &json!({})).await;
    world.reserve(&other, APPS[1]).await;
    let seq = world.answered(&other, APPS[0], 45009).await;
    let blocked = world.post("/v1/calls", &batch, &json!({"app": APPS[0], "api": "message/send"})).await;
    assert_eq!(blocked.problem(), (429, "blocked-by-wecom"));
    assert_eq!(blocked.body["penalty"], seq);

    let page = world.get("/v1/incidents", &world.admin).await.body;
    let listed = &page["incidents"][0];
    assert_eq!((&listed["seq"], &page["next"], listed.get("spent")), (&json!(seq), &json!(null), None));
    let incident = world.get(&format!("/v1/incidents/{seq}"), &world.admin).await.body;
    let facts = ["corp_id", "api", "level", "blocks", "errcode", "hint", "from_ip", "limit", "over", "state"];
    let expected = json!([
        "corp1",
        "message/send",
        "minute",
        "app",
        45009,
        "1576065934_28_e0fa",
        "203.0.113.7",
        null,
        false,
        "blocked"
    ]);
    assert_eq!(facts.map(|name| incident[name].clone()).to_vec(), *expected.as_array().unwrap());
    let minute = incident["counted"].as_array().unwrap().iter().find(|it| it["limit"] == "corp-api-minute");
    assert_eq!(minute.unwrap(), &json!({"limit": "corp-api-minute", "used": 4, "cap": 1000, "unseen": 996}));
    let summary = incident["summary"].as_str().unwrap();
    assert!(summary.contains("we had counted only 4 of 1000 in corp-api-minute"), "{summary}");
    let spent = incident["spent"].as_array().unwrap();
    assert_eq!(spent.iter().map(|it| it["window"].as_str().unwrap()).collect::<Vec<_>>(), ["60s", "1h"]);
    for spent in spent {
        assert_eq!((&spent["spent"], &spent["cut"], &spent["others"]), (&json!(4), &json!(false), &json!(0)));
        let top = &spent["spenders"][0];
        assert_eq!((&top["api_key_id"], &top["spent"]), (&json!(batch_id), &json!(3)));
        assert_eq!((&top["agent_id"], &top["api"]), (&json!("1000002"), &json!("message/send")));
    }
}

#[tokio::test]
async fn a_likely_limit_names_its_own_window_and_refusals_are_counted() {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 3).await;
    for _ in 0..2 {
        world.answered(&world.admin, APPS[0], 0).await;
    }
    let call = world.reserve(&world.admin, APPS[0]).await;
    let refused =
        world.post("/v1/calls", &world.admin, &json!({"app": APPS[0], "api": "message/send"})).await;
    assert_eq!(refused.problem(), (429, "limit-exceeded"));
    world.post(&format!("/v1/calls/{call}/post"), &world.admin, &json!({"errcode": 45009})).await;
    let incident = world.get("/v1/incidents", &world.admin).await.body["incidents"][0].clone();
    assert_eq!(incident["limit"], "corp-api-minute");
    assert!(incident["summary"].as_str().unwrap().contains("we had counted 3 of 3 in corp-api-minute"));
    let spent =
        world.get(&format!("/v1/incidents/{}", incident["seq"]), &world.admin).await.body["spent"].clone();
    assert_eq!(spent.as_array().unwrap().len(), 1);
    assert_eq!(
        (&spent[0]["window"], &spent[0]["spent"], &spent[0]["refused"]),
        (&json!("60s"), &json!(3), &json!(1))
    );
}

#[tokio::test]
async fn declared_usage_is_nobodys_and_counts_in_the_limits_of_its_api_alone() {
    let world = World::new().await;
    world
        .act(Command::PutLimits { profile: "wecom-2023".to_owned(), operator: Operator::Corp, own: None })
        .await;
    world.cap("corp1", "messages-app-day", 10).await;
    for (api, amount) in [("appchat/send", 5), ("message/send", 9)] {
        let declared = json!({"corp_id": "corp1", "agent_id": "1000002", "unit": "person_times", "amount": amount, "api": api});
        assert_eq!(world.post("/v1/usage/declare", &world.admin, &declared).await.status, 201);
    }
    let seq = world.answered(&world.admin, APPS[0], 45009).await;
    let incident = world.get(&format!("/v1/incidents/{seq}"), &world.admin).await;
    let spent = incident.body["spent"].as_array().unwrap();
    let day = spent.iter().find(|it| it["unit"] == "person_times").unwrap();
    assert_eq!(day["spent"], 9, "{}", incident.text);
    let spenders = day["spenders"].as_array().unwrap();
    let who: Vec<_> = spenders.iter().map(|it| (it["api_key_id"].is_null(), it["spent"].clone())).collect();
    assert_eq!(who, [(true, json!(9)), (false, json!(0))], "{}", incident.text);
}

#[tokio::test]
async fn incidents_come_newest_first_page_by_page() {
    let world = World::new().await;
    let mut seqs = Vec::new();
    for _ in 0..3 {
        let seq = world.answered(&world.admin, APPS[0], 45009).await;
        seqs.push(seq);
        let cleared = world.post(&format!("/v1/penalties/{seq}/clear"), &world.admin, &json!({})).await;
        assert_eq!(cleared.status, 200, "{}", cleared.text);
    }
    seqs.reverse();
    let first = world.get("/v1/incidents?limit=2", &world.admin).await.body;
    let of = |page: &Value| -> Vec<Seq> {
        page["incidents"].as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!((of(&first), &first["next"]), (seqs[..2].to_vec(), &json!(seqs[1])));
    let last = world.get(&format!("/v1/incidents?limit=2&before={}", seqs[1]), &world.admin).await.body;
    assert_eq!((of(&last), &last["next"]), (seqs[2..].to_vec(), &json!(null)));
    assert!(first["incidents"][0]["over"].as_bool().unwrap());
    for path in ["/v1/incidents?limit=0", "/v1/incidents?before=x", "/v1/incidents?page=2"] {
        assert_eq!(world.get(path, &world.admin).await.problem(), (400, "invalid-query"));
    }
    assert_eq!(world.get("/v1/incidents/1", &world.admin).await.problem(), (404, "not-found"));
}

#[tokio::test]
async fn a_penalty_is_listed_until_somebody_clears_it() {
    let world = World::new().await;
    let seq = world.answered(&world.admin, APPS[0], 45009).await;
    let (_, reporter) = world.key(&[Scope::Report], &[]).await;
    let (_, elsewhere) = world.key(&[Scope::Report], &APPS[1..]).await;
    let (_, limited) = world.key(&[Scope::Admin], &APPS[..1]).await;
    let penalties = world.get("/v1/penalties", &reporter).await.body["penalties"].clone();
    assert_eq!(penalties.as_array().unwrap().len(), 1);
    let shown = ["seq", "corp_id", "api", "level", "blocks", "state", "trying"]
        .map(|name| penalties[0][name].clone());
    assert_eq!(
        shown.to_vec(),
        *json!([seq, "corp1", "message/send", "minute", "app", "blocked", null]).as_array().unwrap()
    );
    // A key for another corp's app sees nothing of it.
    assert_eq!(world.get("/v1/penalties", &elsewhere).await.body["penalties"], json!([]));
    assert_eq!(world.get("/v1/incidents", &elsewhere).await.body["incidents"], json!([]));
    assert_eq!(world.get(&format!("/v1/incidents/{seq}"), &elsewhere).await.problem(), (404, "not-found"));

    let path = format!("/v1/penalties/{seq}/clear");
    assert_eq!(world.post(&path, &reporter, &json!({})).await.problem(), (403, "missing-scope"));
    assert_eq!(world.post(&path, &limited, &json!({})).await.problem(), (403, "not-allowed"));
    assert_eq!(world.post(&path, &world.admin, &json!({})).await.status, 200);
    assert_eq!(world.post(&path, &world.admin, &json!({})).await.problem(), (404, "not-found"));
    assert_eq!(world.get("/v1/penalties", &reporter).await.body["penalties"], json!([]));
    world.reserve(&world.admin, APPS[0]).await;
}

#[tokio::test]
async fn usage_that_no_call_shows_is_declared_by_an_administrator() {
    let world = World::new().await;
    let (_, key) = world.key(&[Scope::Call, Scope::Report], &[]).await;
    let declared = json!({"corp_id": "corp1", "agent_id": "1000002", "unit": "person_times", "amount": 7, "note": "by hand"});
    assert_eq!(world.post("/v1/usage/declare", &key, &declared).await.problem(), (403, "missing-scope"));
    let answer = world.post("/v1/usage/declare", &world.admin, &declared).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let entry = world.get(&format!("/v1/entries/{}", answer.body["seq"]), &world.admin).await.body;
    let shown = ["kind", "corp_id", "agent_id", "unit", "amount", "note"].map(|name| entry[name].clone());
    assert_eq!(
        shown.to_vec(),
        *json!(["usage.declared", "corp1", "1000002", "person_times", 7, "by hand"]).as_array().unwrap()
    );
    for (member, value, expected) in [
        ("corp_id", json!("corp9"), (404, "not-found")),
        ("agent_id", json!("9"), (404, "not-found")),
        ("amount", json!(0), (400, "invalid-body")),
        ("amount", json!(-1), (400, "invalid-body")),
        ("unit", json!("calls"), (400, "invalid-body")),
        ("unit", json!("apples"), (400, "invalid-body")),
        ("note", json!("a\nb"), (400, "invalid-body")),
    ] {
        let mut wrong = declared.clone();
        wrong[member] = value;
        assert_eq!(
            world.post("/v1/usage/declare", &world.admin, &wrong).await.problem(),
            expected,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn readings_are_declared_of_an_article_that_nobody_can_read_off_the_ledger() {
    let world = World::new().await;
    let used = json!({"use": {"profile": "wecom-2023"}});
    assert_eq!(world.post("/v1/limits", &world.admin, &used).await.status, 200);
    let declare = async |amount: i64, article: Value| {
        let declared = json!({"corp_id": "corp1", "unit": "reads", "amount": amount, "article": article});
        world.post("/v1/usage/declare", &world.admin, &declared).await
    };
    for (amount, article) in [(7, "the one of May"), (2, "another"), (-3, "the one of May")] {
        assert_eq!(declare(amount, json!(article)).await.status, 201);
    }
    let usage = world.get("/v1/usage?limit=article-reads", &world.admin).await;
    let mut read: Vec<_> =
        usage.body["usage"].as_array().unwrap().iter().map(|row| row["used"].clone()).collect();
    read.sort_by_key(Value::as_u64);
    assert_eq!(read, [2, 4], "each article has a count of its own: {}", usage.text);
    let entry =
        world.get(&format!("/v1/entries/{}", declare(1, json!("a")).await.body["seq"]), &world.admin).await;
    let hash = entry.body["article"].as_str().unwrap();
    assert!(hash.len() == 16 && !entry.text.contains("May"), "{}", entry.text);
    assert_eq!(declare(1, json!(null)).await.problem(), (400, "invalid-body"));
    let apps = json!({"corp_id": "corp1", "unit": "apps", "amount": 1, "article": "x"});
    assert_eq!(world.post("/v1/usage/declare", &world.admin, &apps).await.problem(), (400, "invalid-body"));
}
