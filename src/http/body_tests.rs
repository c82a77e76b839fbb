//! Who may make the service read, how much, and for how long.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Bytes;
use actix_web::{App, web};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;

use super::configure;
use super::tests::{APPS, World};

/// All that take a body and need no gateway.
const DOORS: [&str; 7] = [
    "/v1/calls",
    "/v1/calls/check",
    "/v1/calls/1/post",
    "/v1/calls/1/void",
    "/v1/members",
    "/v1/limits",
    "/v1/usage/declare",
];

/// The status of the answer to a request whose body comes so, and after how many seconds it comes.
async fn sent(
    world: &World,
    path: &str,
    key: &str,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> (u16, u64) {
    let app = App::new().app_data(web::Data::new(world.state.clone())).configure(configure);
    let app = init_service(app).await;
    let request = TestRequest::post().uri(path).insert_header(("authorization", format!("Bearer {key}")));
    let body: Payload = Payload::Stream { payload: Box::pin(body) };
    let (request, _) = request.to_request().replace_payload(body);
    let begun = tokio::time::Instant::now();
    let status = call_service(&app, request).await.status().as_u16();
    (status, begun.elapsed().as_secs())
}

#[tokio::test]
async fn no_body_is_read_of_somebody_who_may_not_ask() {
    let world = World::new().await;
    for path in DOORS {
        let answered = sent(&world, path, "wlk_x", stream::pending());
        let answered = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
        assert_eq!(answered.0, 401, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_for_ever() {
    let world = World::new().await;
    // From here on time passes when nothing else can happen.
    tokio::time::pause();
    for path in DOORS {
        assert_eq!(sent(&world, path, &world.admin, stream::pending()).await, (408, 30), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_drips_is_read_for_a_minute_and_no_longer() {
    let world = World::new().await;
    tokio::time::pause();
    let drops = |count| {
        stream::repeat_with(|| Ok(Bytes::from_static(b" "))).take(count).then(|drop| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            drop
        })
    };
    assert_eq!(sent(&world, "/v1/calls", &world.admin, drops(100)).await, (408, 60));
    // This one comes in time, and is no JSON.
    assert_eq!(sent(&world, "/v1/calls", &world.admin, drops(6)).await, (400, 54));
}

#[tokio::test]
async fn a_long_answer_of_wecom_can_be_passed_on_as_it_is() {
    let world = World::new().await;
    let call = world.reserve(&world.admin, APPS[0]).await;
    let path = format!("/v1/calls/{call}/post");
    let answer = |len: usize| json!({"errcode": 0, "errmsg": "ok", "userlist": "x".repeat(len)});
    let too_long = world.post(&path, &world.admin, &answer(1024 * 1024)).await;
    assert_eq!(too_long.problem(), (413, "body-too-large"));
    let posted = world.post(&path, &world.admin, &answer(1024 * 1024 - 200)).await;
    assert_eq!(posted.status, 200, "{}", posted.text);
    let void = format!("/v1/calls/{call}/void");
    assert_eq!(world.post(&void, &world.admin, &answer(70_000)).await.problem(), (413, "body-too-large"));
}
