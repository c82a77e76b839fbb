//! Who may make the service read, how much, and for how long.

use actix_web::dev::Payload;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use futures_util::stream;
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

/// The status of the answer to a request whose body never comes.
async fn stalled(world: &World, path: &str, key: &str) -> u16 {
    let app = App::new().app_data(web::Data::new(world.state.clone())).configure(configure);
    let app = init_service(app).await;
    let request = TestRequest::post().uri(path).insert_header(("authorization", format!("Bearer {key}")));
    let never: Payload = Payload::Stream { payload: Box::pin(stream::pending()) };
    let (request, _) = request.to_request().replace_payload(never);
    call_service(&app, request).await.status().as_u16()
}

#[tokio::test]
async fn no_body_is_read_of_somebody_who_may_not_ask() {
    let world = World::new().await;
    for path in DOORS {
        let answered =
            tokio::time::timeout(std::time::Duration::from_secs(20), stalled(&world, path, "wlk_x"));
        assert_eq!(answered.await.ok(), Some(401), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_for_ever() {
    let world = World::new().await;
    // From here on time passes when nothing else can happen.
    tokio::time::pause();
    for path in DOORS {
        assert_eq!(stalled(&world, path, &world.admin).await, 400, "{path}");
    }
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
