//! Reservations that come again, come together, or are only asked about; and what they cost.

use std::task::Poll;
use std::time::Duration;

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::tests::{APPS, Answer, World};
use crate::ledger::Kind;
use crate::ledger::command::{Command, Outcome};
use crate::ledger::entry::{Body, CallPending, Scope};
use crate::quota::{Operator, Profile};

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

/// An answer without the moment, which is told anew each time.
fn shown(mut created: Value) -> Value {
    let expires_at = created.as_object_mut().unwrap().remove("expires_at").unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(expires_at.as_str().unwrap()).is_ok(), "{expires_at}");
    created
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
    assert_eq!(shown(again.body), shown(first.body.clone()));
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
async fn a_request_whose_call_has_ended_is_no_permission_any_more() {
    let world = World::new().await;
    let posted = json!({"errcode": 0});
    for (key, end, body, state) in
        [("a", "post", &posted, "posted"), ("b", "void", &json!({}), "voided"), ("c", "", &posted, "expired")]
    {
        let first = world.post_once(key, &world.admin, &order()).await.body;
        let call = first["call_id"].as_u64().unwrap();
        if end.is_empty() {
            let outcome = Outcome::Expired { reason: "timeout".to_owned() };
            let expire = Command::Settle { pending: call, outcome, caller: None };
            world.state.ledger.decide(expire).await.unwrap();
        } else {
            world.post(&format!("/v1/calls/{call}/{end}"), &world.admin, body).await;
        }
        let again = world.post_once(key, &world.admin, &order()).await;
        assert_eq!(again.problem(), (409, "call-ended"));
        assert_eq!((&again.body["call_id"], &again.body["state"]), (&json!(call), &json!(state)));
    }
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
    for i in [0, 2, 4] {
        assert_eq!(shown(repeated[i].clone()), shown(results[i].clone()));
    }
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
async fn a_list_keeps_its_place_until_it_is_decided_also_when_its_client_hangs_up() {
    let world = World::new().await;
    let busy = world.busy_committer().await;
    let body = json!({"calls": [order()]});
    for _ in 0..super::many::AT_ONCE {
        let mut request = Box::pin(world.post("/v1/calls", &world.admin, &body));
        // Polled until it waits for the ledger, then dropped, as actix does with the handler of a lost connection.
        assert!(
            std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await.is_pending()
        );
    }
    let fifth = world.post("/v1/calls", &world.admin, &body);
    // Were there a place for it, it would wait for the committer for ever.
    let fifth = tokio::time::timeout(Duration::from_mins(1), fifth).await.unwrap();
    assert_eq!(fifth.problem(), (503, "busy"));
    drop(busy);
    world.state.ledger.read(|_, _| ()).await.unwrap();
    assert_eq!(world.post("/v1/calls", &world.admin, &body).await.status, 200);
}

#[tokio::test]
async fn a_list_that_comes_again_reads_much_and_waits_for_its_turn() {
    let world = World::new().await;
    let list = json!({"calls": [order(), order()]});
    let first = world.post_once("k", &world.admin, &list).await;
    world.post_once("single", &world.admin, &order()).await;
    let places = (world.state.slow().await.unwrap(), world.state.slow().await.unwrap());
    // From here on time passes when nothing else can happen.
    tokio::time::pause();
    assert_eq!(world.post_once("k", &world.admin, &list).await.problem(), (503, "busy"));
    tokio::time::resume();
    assert_eq!(world.post_once("single", &world.admin, &order()).await.status, 201);
    assert_eq!(world.post_once("new", &world.admin, &list).await.status, 200);
    drop(places);
    let again = world.post_once("k", &world.admin, &list).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    assert_eq!(again.body["results"][1]["call_id"], first.body["results"][1]["call_id"]);
}

#[tokio::test]
async fn a_message_that_never_passes_since_sizes_are_unknown_is_told_what_helps() {
    let world = World::new().await;
    let to =
        |parties: &str| json!({"app": APPS[0], "api": "message/send", "recipients": {"toparty": parties}});
    let many = (1..=31).map(|id| id.to_string()).collect::<Vec<_>>().join("|");
    let refused = world.post("/v1/calls", &world.admin, &to(&many)).await;
    assert_eq!((refused.problem(), &refused.body["retry_at"]), ((429, "limit-exceeded"), &Value::Null));
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("it needs 3100") && detail.contains("`members learn`"), "{detail}");
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
    let chat = cost(json!({"api": "appchat/send", "recipients": {"chat": "chat17"}})).await;
    assert!(chat.cost.person_times == 100 && chat.target.chat != 0);
    let said = cost(json!({"cost": {"person_times": 5, "accounts": 2, "domains": 1}})).await.cost;
    assert_eq!((said.person_times, said.accounts, said.domains), (5, 2, 1));
    let entry = world.get("/v1/entries?kind=call.pending", &world.admin).await;
    assert!(!entry.text.contains("zhangsan") && !entry.text.contains("chat17"), "{}", entry.text);
}

#[tokio::test]
async fn what_a_cost_leaves_out_is_taken_at_its_upper_bound() {
    let world = World::new().await;
    let cost = async |api: &str, cost: Value| {
        let body = json!({"app": APPS[0], "api": api, "cost": cost});
        let answer = world.post("/v1/calls", &world.admin, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let pending = world.pending(&answer.body).await;
        (
            pending.cost.person_times,
            pending.cost.accounts,
            pending.cost.domains,
            pending.target.unread.is_some(),
        )
    };
    assert_eq!(cost("message/send", json!({})).await, (100, 0, 0, true));
    assert_eq!(cost("message/send", json!({"accounts": 5})).await, (100, 5, 0, true));
    assert_eq!(cost("message/send", json!({"person_times": 7})).await, (7, 0, 0, false));
    assert_eq!(cost("user/create", json!({"person_times": 0})).await, (0, 1, 0, false));
    assert_eq!(cost("user/create", json!({"accounts": 2})).await, (0, 2, 0, false));
    assert_eq!(cost("agent/set", json!({"accounts": 0})).await, (0, 0, 1, true));
    assert_eq!(cost("agent/set", json!({"domains": 0})).await, (0, 0, 0, false));
    assert_eq!(cost("user/get", json!({})).await, (0, 0, 0, false));
}

#[tokio::test]
async fn a_robot_that_a_client_speaks_as_counts_with_what_the_gateway_sends_as_it() {
    let world = World::new().await;
    world
        .act(Command::PutLimits { profile: "wecom-2023".to_owned(), operator: Operator::Corp, own: None })
        .await;
    let body = json!({"app": APPS[0], "api": "webhook/send", "recipients": {"robot": "key-of-a-robot"}});
    for _ in 0..20 {
        let answer = world.post("/v1/calls", &world.admin, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let robot = world.state.vault.robot_hash(&world.state.ledger.ledger_id(), "key-of-a-robot");
        assert_eq!(world.pending(&answer.body).await.target.chat, robot);
    }
    let refused = world.post("/v1/calls", &world.admin, &body).await;
    assert_eq!(
        (refused.problem(), &refused.body["limit"]),
        ((429, "limit-exceeded"), &json!("robot-minute"))
    );
}

#[tokio::test]
async fn a_limit_per_group_chat_counts_what_is_reserved_by_cost_or_refuses_it_aloud() {
    let world = World::new().await;
    let order = |members: Value| {
        let mut body = json!({"app": APPS[0], "api": "appchat/send"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        body
    };
    let by_cost = order(json!({"cost": {"person_times": 5}}));
    assert_eq!(
        world.post("/v1/calls", &world.admin, &by_cost).await.status,
        201,
        "no limit asks for the chat"
    );
    let profile = "name = \"own\"\n[[limit]]\nname = \"chat-minute\"\napis = [\"appchat/send\"]\n\
                   scope = [\"corp\", \"chat\"]\nunit = \"calls\"\nwindow = \"60s\"\ncap = 3\nsource = \"made up\"\n";
    let own = Box::new(Profile::from_toml(profile).unwrap());
    let (profile, operator) = (own.name.clone(), Operator::Corp);
    world.act(Command::PutLimits { profile, operator, own: Some(own) }).await;
    for unnamed in [&by_cost, &order(json!({"cost": {}})), &order(json!({}))] {
        let refused = world.post("/v1/calls", &world.admin, unnamed).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains("chatid"), "{}", refused.text);
        let checked = world.post("/v1/calls/check", &world.admin, unnamed).await;
        assert_eq!(checked.body["would"], "refuse", "{}", checked.text);
    }
    let of_chat = [
        order(json!({"cost": {"person_times": 5, "chat": "chat17"}})),
        order(json!({"cost": {"chat": " chat17 "}})),
        order(json!({"recipients": {"chat": "chat17"}})),
    ];
    let mut people = Vec::new();
    for body in &of_chat {
        let answer = world.post("/v1/calls", &world.admin, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        people.push(world.pending(&answer.body).await.cost.person_times);
    }
    assert_eq!(people, [5, 100, 100]);
    let refused = world.post("/v1/calls", &world.admin, &of_chat[0]).await;
    assert_eq!((refused.problem(), &refused.body["limit"]), ((429, "limit-exceeded"), &json!("chat-minute")));
    let other = order(json!({"cost": {"person_times": 5, "chat": "chat18"}}));
    assert_eq!(world.post("/v1/calls", &world.admin, &other).await.status, 201);
    let message = order(json!({"api": "message/send", "cost": {"person_times": 5}}));
    assert_eq!(world.post("/v1/calls", &world.admin, &message).await.status, 201, "it goes to no chat");
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
        json!({"recipients": {"chat": "c"}}),
        json!({"recipients": {"robot": "r"}}),
        json!({"api": "appchat/send", "recipients": {"touser": "a"}}),
        json!({"api": "appchat/send", "recipients": {"touser": "a", "chat": "c"}}),
        json!({"cost": {"chat": "c"}}),
        json!({"api": "appchat/send", "cost": {"chat": ""}}),
        json!({"api": "webhook/send"}),
        json!({"api": "webhook/send", "cost": {}}),
        json!({"api": "webhook/send", "recipients": {"chat": "c"}}),
        json!({"api": "webhook/send", "recipients": {"robot": ""}}),
        json!({"api": "user/create", "recipients": {"touser": "a"}}),
        json!({"api": "user/create", "cost": {"accounts": 0}}),
        json!({"cost": {"person_times": 0}}),
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
