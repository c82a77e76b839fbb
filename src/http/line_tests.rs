//! Reservations that wait in line.

use std::time::Duration;

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::tests::{APPS, Answer, World};

fn order() -> Value {
    json!({"app": APPS[0], "api": "message/send"})
}

async fn reserve(world: &World, prefer: &str) -> Answer {
    let request = TestRequest::post().uri("/v1/calls").set_payload(order().to_string());
    world.send(request.insert_header(("prefer", prefer)), &world.admin).await
}

/// Resolves when so many calls wait.
async fn waiting(world: &World, count: usize) {
    while world.state.admission.waiting() != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// With a cap of one call a minute, and that call reserved.
async fn full() -> (World, u64) {
    let world = World::new().await;
    world.cap("corp1", "corp-api-minute", 1).await;
    let call = world.reserve(&world.admin, APPS[0]).await;
    (world, call)
}

#[tokio::test]
async fn a_reservation_waits_for_room_and_gets_what_is_given_back() {
    let (world, call) = full().await;
    let void = async {
        waiting(&world, 1).await;
        let path = format!("/v1/calls/{call}/void");
        assert_eq!(world.post(&path, &world.admin, &json!({})).await.status, 200);
    };
    let (reserved, ()) = tokio::join!(reserve(&world, "respond-async, wait=3600"), void);
    assert_eq!(reserved.status, 201, "{}", reserved.text);
    assert_eq!(reserved.header("preference-applied"), "wait=60");
    let refusals = world.get("/v1/entries?kind=call.refused", &world.admin).await;
    assert_eq!(refusals.body["entries"], json!([]));
}

#[tokio::test]
async fn a_raised_limit_lets_the_next_one_in() {
    let (world, _) = full().await;
    let raise = async {
        waiting(&world, 1).await;
        world.cap("corp1", "corp-api-minute", 2).await;
    };
    let (reserved, ()) = tokio::join!(reserve(&world, "wait=60"), raise);
    assert_eq!(reserved.status, 201, "{}", reserved.text);
}

#[tokio::test]
async fn whoever_waits_in_vain_is_told_so_and_is_on_record() {
    let (world, _) = full().await;
    let refused = reserve(&world, "wait=1").await;
    assert_eq!(refused.problem(), (429, "limit-exceeded"));
    assert!(refused.text.contains("; it has waited 1 s in line"), "{}", refused.text);
    assert_eq!(refused.header("preference-applied"), "wait=1");
    let retry_after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((50..=61).contains(&retry_after), "{retry_after}");
    let refusals = world.get("/v1/entries?kind=call.refused", &world.admin).await;
    assert_eq!(refusals.body["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn many_at_once_overtake_nobody_either() {
    let (world, call) = full().await;
    let others = async {
        waiting(&world, 1).await;
        let many = world.post("/v1/calls", &world.admin, &json!({"calls": [order(), order()]})).await;
        assert_eq!(many.body["results"][0]["status"], 429, "{}", many.text);
        let checked = world.post("/v1/calls/check", &world.admin, &order()).await;
        assert_eq!(checked.body["would"], "refuse", "{}", checked.text);
        world.post(&format!("/v1/calls/{call}/void"), &world.admin, &json!({})).await;
    };
    let (reserved, ()) = tokio::join!(reserve(&world, "wait=60"), others);
    assert_eq!(reserved.status, 201, "{}", reserved.text);
}

/// Its room comes at midnight, and it waits for a minute: for something to be given back.
#[tokio::test]
async fn room_that_is_too_small_for_who_waits_in_vain_is_for_many_at_once_and_a_check() {
    let world = World::new().await;
    world.cap("corp1", "messages-corp-day", 5).await;
    let to = |users: &str| json!({"app": APPS[0], "api": "message/send", "recipients": {"touser": users}});
    let first = world.post("/v1/calls", &world.admin, &to("a|b|c")).await;
    let large = TestRequest::post().uri("/v1/calls").set_payload(to("d|e|f").to_string());
    let large = large.insert_header(("prefer", "wait=60"));
    let small = to("g");
    let others = async {
        waiting(&world, 1).await;
        let head = world.state.ledger.head();
        let checked = world.post("/v1/calls/check", &world.admin, &small).await;
        assert_eq!((checked.status, &checked.body["would"]), (200, &json!("admit")), "{}", checked.text);
        assert_eq!(world.state.ledger.head(), head, "asking leaves no entry");
        let many = world.post("/v1/calls", &world.admin, &json!({"calls": [small, small, small]})).await;
        let statuses: Vec<_> =
            many.body["results"].as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
        assert_eq!(statuses, [201, 201, 429], "{}", many.text);
        assert_eq!(world.state.admission.waiting(), 1);
        world.post(&format!("/v1/calls/{}/void", first.body["call_id"]), &world.admin, &json!({})).await;
    };
    let (reserved, ()) = tokio::join!(world.send(large, &world.admin), others);
    assert_eq!(reserved.status, 201, "{}", reserved.text);
}

#[tokio::test]
async fn a_preference_that_is_not_understood_or_no_wait_is_ignored() {
    let (world, _) = full().await;
    for prefer in ["wait=0", "wait=-1", "wait=soon", "wait", "wait=1.5", "respond-async", "=;,\"wait=5"] {
        let refused = reserve(&world, prefer).await;
        assert_eq!(refused.problem(), (429, "limit-exceeded"), "{prefer}");
        assert!(!refused.text.contains("waited"), "{prefer}: {}", refused.text);
        assert_eq!(refused.header("preference-applied"), "", "{prefer}");
    }
    assert_eq!(world.state.admission.waiting(), 0);
}

#[tokio::test]
async fn a_process_that_drains_ends_the_wait() {
    let (world, _) = full().await;
    let drain = async {
        waiting(&world, 1).await;
        world.state.admission.drain();
    };
    let (refused, ()) = tokio::join!(reserve(&world, "wait=60"), drain);
    assert_eq!(refused.problem(), (429, "limit-exceeded"));
    assert!(refused.text.contains("this process stops"), "{}", refused.text);
    assert_eq!(refused.header("preference-applied"), "");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_the_line_and_no_entry() {
    let (world, _) = full().await;
    let head = world.state.ledger.head();
    {
        let mut request = Box::pin(reserve(&world, "wait=60"));
        tokio::select! {
            _ = &mut request => panic!("it was answered"),
            () = waiting(&world, 1) => {}
        }
    }
    waiting(&world, 0).await;
    assert_eq!(world.state.ledger.head(), head);
}
