//! Whatever goes wrong has the same form.

use actix_web::ResponseError as _;
use actix_web::test::TestRequest;

use super::problem::{self, Problem};
use super::tests::World;
use crate::ledger::LedgerError;
use crate::ledger::row::DamagedRow;
use crate::store::StoreError;

#[tokio::test]
async fn wrong_paths_and_methods_are_problems_too() {
    let world = World::new().await;
    for path in ["/v1", "/v1/nothing", "/nothing", "/v1/entries/last", "/v1/entries/999999", "/problems/none"]
    {
        assert_eq!(world.get(path, &world.admin).await.problem(), (404, "not-found"), "{path}");
    }
    let answer = world.send(TestRequest::delete().uri("/v1/entries"), &world.admin).await;
    assert_eq!(answer.problem(), (405, "method-not-allowed"));
    assert_eq!(answer.header("allow"), "GET");
    assert_eq!(world.raw(TestRequest::post().uri("/healthz")).await.problem(), (405, "method-not-allowed"));
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_its_description() {
    let world = World::new().await;
    for of in problem::TYPES {
        let answer = world.raw(TestRequest::get().uri(&format!("/problems/{}", of.slug))).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains(of.title));
    }
}

#[test]
fn a_ledger_that_can_not_be_read_for_a_moment_is_503_and_a_damaged_one_is_500() {
    let status = |error: StoreError| {
        let response = Problem::from(error).error_response();
        (response.status().as_u16(), response.headers().contains_key("retry-after"))
    };
    assert_eq!(status(StoreError::Read("pool timed out".to_owned())), (503, true));
    let damaged = DamagedRow { seq: 7, kind: "call.posted", what: "no cost".to_owned() };
    assert_eq!(status(StoreError::Damaged(damaged)), (500, false));
}

#[test]
fn a_ledger_that_can_not_be_written_is_503_and_says_when_to_come_back() {
    for (error, slug) in [
        (LedgerError::Unavailable("disk full".to_owned()), "ledger-unavailable"),
        (LedgerError::Stopped, "ledger-unavailable"),
        (LedgerError::Busy, "busy"),
    ] {
        let problem = Problem::from(error);
        assert_eq!(problem.of.slug, slug);
        let response = problem.error_response();
        let retry_after = response.headers().get("retry-after").unwrap();
        assert_eq!((response.status().as_u16(), retry_after.to_str().unwrap()), (503, "1"));
    }
}
