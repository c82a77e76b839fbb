//! The harness: a sandbox WeCom, a data directory, and servers on it, all as processes of the real binary.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of the harness")]

mod alertmanager;
mod attempts;
mod clock;
mod disk;
mod journal;
mod ledger;
mod load;
mod process;
mod random;
pub mod raw;
mod sandbox;

pub use alertmanager::Alertmanager;
pub use attempts::{Attempt, attempts};
pub use clock::TestClock;
pub use disk::{Fiu, limit_file_size, sql};
pub use journal::{Journal, densest};
pub use ledger::{Entry, Ledger, Server};
pub use load::{Load, Seen};
pub use process::{Running, binary, free_port};
pub use random::Random;
pub use raw::Upstream;
pub use sandbox::Sandbox;

use std::time::{Duration, Instant};

pub const CORP: &str = "ww0123456789abcdef";
pub const AGENT: &str = "1000001";
pub const SECRET: &str = "sandbox-secret-1000001";

/// A client that never waits for ever and never uses a proxy of the environment.
pub fn client() -> reqwest::Client {
    wecom_ledger::wecom::tls::install();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap()
}

/// Waits until `condition` holds, and fails with `what` if it does not within 20 s.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen within 20 s: {what}");
}
