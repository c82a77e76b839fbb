//! Somebody sets the wall clock of the machine that the service runs on. WeCom's own clock goes right.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{CORP, Ledger, Sandbox, Server, TestClock};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Sends messages until one is refused; how many were sent.
async fn sent(server: &Server) -> usize {
    for sent in 0..10 {
        let answer = server.send_message("zhangsan", "hello").await;
        match answer["errcode"].as_i64() {
            Some(0) => {}
            Some(45009) => return sent,
            _ => panic!("{answer}"),
        }
    }
    panic!("no limit");
}

#[tokio::test]
async fn a_day_has_one_budget_whatever_the_wall_clock_shows_and_the_next_day_has_its_own() {
    let clock = TestClock::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let of_day = (now + 8 * HOUR_MS).rem_euclid(DAY_MS);
    // Ten in the morning in China.
    clock.advance_ms((34 * HOUR_MS - of_day) % DAY_MS);
    let sandbox = Sandbox::with(&[], Some(&clock));
    let ledger = Ledger::new(sandbox.url());
    ledger.ok(&["limits", "set", CORP, "messages-corp-day", "3"]);
    let mut server = ledger.serve_with(&[], Some(&clock));
    assert_eq!(sent(&server).await, 3);

    clock.step_wall_ms(3 * DAY_MS + 5 * HOUR_MS);
    assert_eq!(sent(&server).await, 0, "set ahead");
    server.process.kill();
    server = ledger.serve_with(&[], Some(&clock));
    assert_eq!(sent(&server).await, 0, "and after a restart");
    clock.step_wall_ms(-3 * DAY_MS - 5 * HOUR_MS);
    assert_eq!(sent(&server).await, 0, "and set back");

    clock.advance_ms(14 * HOUR_MS + 120_000);
    assert_eq!(sent(&server).await, 3, "after midnight");
    let entries = ledger.entries(&server).await;
    assert_eq!(entries.iter().filter(|entry| entry["kind"] == "clock.stepped").count(), 2);
}
