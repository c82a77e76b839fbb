//! Reservations that come again, come together, or are only asked about; and what they cost.

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::tests::{APPS, Answer, World};
use crate::ledger::Kind;
use crate::ledger::entry::{Body, CallPending, Scope};

impl World {
    async fn post_once(&self, idempotency_key: &str, api_key: &str, body: &Value) -> Answer {
        let request = TestRequest::post().uri("/v1/calls").set_payload(body.to_string());
        self.send(request.insert_header(("idempotency-key", idempotency_key)), api_key).await
    }

    async fn pending(&self, answer: &Value) -> CallPending {
        let row = self.state.reader.entry(answer["call_id"].as_u64().unwrap()).await.unwrap().unwrap();
        let Body::CallPending(x) = row.entry().unwrap().body else { panic!("{row:?}") };
        x
    }

    async fn used(&self) -> Value {
        let usage = self.get("/v1/usage?limit=corp-api-minute&corp=corp1", &self.admin).await.body;
        usage["usage"][0]["used"].clone()
    }
}

fn order() -> Value {
    json!({"app": APPS[0], "api": "message/send"})
}

#[tokio::test]
async fn the_same_request_with_the_same_key_takes_once_and_is_answered_the_same() {
    let world = World::new().await;
    let (_, other) = world.key(&[Scope::Call], &[]).await;
    let first = world.post_once("order 17", &world.admin, &order()).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, ""));
    world.reserve(&world.admin, APPS[0]).await;
    let again = world.post_once("order 17", &world.admin, &order()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    assert_eq!(again.text, first.text);
    assert_eq!(world.used().await, 2);
    // Another API key's keys are its own.
    let others = world.post_once("order 17", &other, &order()).await;
    assert_eq!((others.status, others.header("idempotent-replayed")), (201, ""));
    assert_ne!(others.body["call_id"], first.body["call_id"]);
}

#[tokio::test]
async fn a_key_that_came_with_another_request_is_a_problem() {
    let world = World::new().await;
    world.post_once("k", &world.admin, &order()).await;
    let head = world.state.ledger.head();
    for body in [json!({"app": APPS[0], "api": "user/get"}), json!({"calls": [order()]})] {
        let answer = world.post_once("k", &world.admin, &body).await;
        assert_eq!(answer.problem(), (422, "idempotency-key-reused"));
    }
    let long = "x".repeat(256);
    for key in ["", &long, "schl\u{fc}ssel"] {
        let answer = world.post_once(key, &world.admin, &order()).await;
        assert_eq!(answer.problem(), (400, "invalid-header"), "{key:?}");
    }
    assert_eq!(world.state.ledger.head(), head);
    assert_eq!(world.post_once(&long[..255], &world.admin, &order()).await.status, 201);
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 0).await;
    assert_eq!(world.post_once("k", &world.admin, &order()).await.problem(), (429, "limit-exceeded"));
    world.cap("corp1", "corp-api-minute", 1).await;
    let admitted = world.post_once("k", &world.admin, &order()).await;
    assert_eq!((admitted.status, admitted.header("idempotent-replayed")), (201, ""));
}

#[tokio::test]
async fn what_is_kept_of_a_key_does_not_show_it() {
    let world = World::new().await;
    let answer = world.post_once("zhangsan's order", &world.admin, &order()).await;
    let entry = world.get(&format!("/v1/entries/{}", answer.body["call_id"]), &world.admin).await;
    assert!(entry.body["once"]["key"].as_str().is_some_and(|key| key.len() == 32), "{}", entry.text);
    assert!(!entry.text.contains("zhangsan"), "{}", entry.text);
}

#[tokio::test]
async fn many_calls_are_judged_one_by_one_in_their_order() {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 2).await;
    let unknown = json!({"app": "corp9/1", "api": "message/send"});
    let foreign = json!({"app": APPS[1], "api": "message/send"});
    let body = json!({"calls": [order(), unknown, order(), order(), foreign]});
    let answer = world.post_once("many", &world.admin, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 404, 201, 429, 201]);
    assert_eq!([&results[0]["used"], &results[2]["used"]], [1, 2]);
    assert_eq!(results[3]["problem"]["type"], "/problems/limit-exceeded");
    assert_eq!(results[1]["problem"]["type"], "/problems/unknown-app");
    // What was admitted stays so; what was refused is judged anew.
    world.cap("corp1", "corp-api-minute", 3).await;
    let again = world.post_once("many", &world.admin, &body).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    let repeated = again.body["results"].as_array().unwrap();
    assert_eq!((&repeated[0], &repeated[2], &repeated[4]), (&results[0], &results[2], &results[4]));
    assert_eq!(repeated[3]["status"], 201);
    let path = format!("/v1/calls/{}/post", results[0]["call_id"]);
    assert_eq!(world.post(&path, &world.admin, &json!({"errcode": 0})).await.status, 200);
}

#[tokio::test]
async fn a_list_has_one_to_a_thousand_calls() {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 10_000).await;
    let calls = |count: usize| json!({"calls": vec![json!({"app": APPS[0], "api": "user/get"}); count]});
    for count in [0, 1_001] {
        assert_eq!(
            world.post("/v1/calls", &world.admin, &calls(count)).await.problem(),
            (400, "invalid-body")
        );
    }
    let answer = world.post("/v1/calls", &world.admin, &calls(1_000)).await;
    let results = answer.body["results"].as_array().unwrap();
    assert!(results.len() == 1_000 && results.iter().all(|result| result["status"] == 201));
    assert_eq!(world.used().await, 1_000);
}

#[tokio::test]
async fn a_call_costs_what_its_recipients_or_its_client_say() {
    let world = World::new().await;
    let cost = async |members: Value| {
        let mut body = order();
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let answer = world.post("/v1/calls", &world.admin, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        world.pending(&answer.body).await
    };
    let named = cost(json!({"recipients": {"touser": "zhangsan|LiSi|lisi"}})).await;
    assert_eq!((named.cost.calls, named.cost.person_times), (1, 2));
    // Nobody knows how large the department is: it may be everybody, who are a hundred, and the member counts twice.
    assert_eq!(cost(json!({"recipients": {"touser": "a", "toparty": "7"}})).await.cost.person_times, 101);
    assert_eq!(cost(json!({"recipients": {"touser": "@all"}})).await.cost.person_times, 100);
    assert_eq!(cost(json!({})).await.cost.person_times, 100);
    let chat = cost(json!({"recipients": {"chat": "chat17"}})).await;
    assert!(chat.cost.person_times == 100 && chat.target.chat != 0);
    let said = cost(json!({"cost": {"person_times": 5, "accounts": 2, "domains": 1}})).await.cost;
    assert_eq!((said.person_times, said.accounts, said.domains), (5, 2, 1));
    let entry = world.get("/v1/entries?kind=call.pending", &world.admin).await;
    assert!(!entry.text.contains("zhangsan") && !entry.text.contains("chat17"), "{}", entry.text);
}

#[tokio::test]
async fn recipients_that_can_not_be_read_are_refused() {
    let world = World::new().await;
    let head = world.state.ledger.head();
    for wrong in [
        json!({"recipients": {}}),
        json!({"recipients": {"touser": ""}}),
        json!({"recipients": {"touser": {"a": 1}}}),
        json!({"recipients": {"touser": "a", "chat": "c"}}),
        json!({"recipients": {"chat": ""}}),
        json!({"recipients": {"to": "a"}}),
        json!({"recipients": {"touser": "a"}, "cost": {"person_times": 1}}),
        json!({"cost": {"person_times": -1}}),
        json!({"cost": {"person_times": 1_000_000_001}}),
        json!({"cost": {"apps": 1}}),
    ] {
        let mut body = order();
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = world.post("/v1/calls", &world.admin, &body).await;
        assert_eq!(answer.problem(), (400, "invalid-body"), "{wrong}");
    }
    assert_eq!(world.state.ledger.head(), head);
}

#[tokio::test]
async fn a_check_says_what_would_happen_and_takes_nothing() {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 1).await;
    world.reserve(&world.admin, APPS[1]).await;
    let head = world.state.ledger.head();
    for _ in 0..3 {
        let answer = world.post("/v1/calls/check", &world.admin, &order()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!((&answer.body["would"], &answer.body["problem"]), (&json!("admit"), &Value::Null));
        assert_eq!(answer.body["cost"]["person_times"], 100);
        let minute =
            answer.body["limits"].as_array().unwrap().iter().find(|it| it["limit"] == "corp-api-minute");
        assert_eq!((&minute.unwrap()["used"], &minute.unwrap()["cap"]), (&json!(0), &json!(1)));
    }
    assert_eq!(world.state.ledger.head(), head);
    world.reserve(&world.admin, APPS[0]).await;
    let head = world.state.ledger.head();
    let full = world.post("/v1/calls/check", &world.admin, &order()).await.body;
    assert_eq!(
        (&full["would"], &full["problem"]["type"]),
        (&json!("refuse"), &json!("/problems/limit-exceeded"))
    );
    assert_eq!(world.state.ledger.head(), head);
    let (_, limited) = world.key(&[Scope::Call], &APPS[..1]).await;
    let other = json!({"app": APPS[1], "api": "message/send"});
    let refused = world.post("/v1/calls/check", &limited, &other).await.body;
    assert_eq!(
        (&refused["would"], &refused["problem"]["type"]),
        (&json!("refuse"), &json!("/problems/not-allowed"))
    );
    let kinds = world.state.reader.entry(world.state.ledger.head()).await.unwrap().unwrap().kind;
    assert_ne!(kinds, Kind::CallRefused);
}

#[tokio::test]
async fn recipients_whom_the_answer_names_as_invalid_cost_nothing_where_they_are_free() {
    let mut world = World::new().await;
    let order = json!({"app": APPS[0], "api": "message/send", "recipients": {"touser": "a|b|c|d"}});
    for (free, spent) in [(false, 4), (true, 2)] {
        world.state.messages.invalid_recipients_count = !free;
        let call = world.post("/v1/calls", &world.admin, &order).await.body["call_id"].clone();
        let answer = json!({"errcode": 0, "errmsg": "ok", "invaliduser": "A|b"});
        let posted = world.post(&format!("/v1/calls/{call}/post"), &world.admin, &answer).await;
        let seq = posted.body["seq"].as_u64().unwrap();
        let entry = world.state.reader.entry(seq).await.unwrap().unwrap().entry().unwrap();
        let Body::CallPosted(x) = entry.body else { panic!() };
        assert_eq!(x.cost.person_times, spent);
    }
}
