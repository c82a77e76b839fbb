//! Deploys under load: the new process starts beside the old one on the same port, then the old one drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{AGENT, CORP, Ledger, Random, Sandbox, client, free_port, until};

const SEED: u64 = 0x5EED_0008;
const DEPLOYS: usize = 5;
/// Calls that are answered by the new process alone, and by both together, before the next deploy.
const CALLS_BETWEEN: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    /// One connection, used again at once.
    KeepAlive,
    /// One connection, left alone for a while after each call.
    Idler,
    /// A new connection for each call.
    Fresh,
}

struct Clients {
    url: String,
    api_key: String,
    stop: AtomicBool,
    answered: AtomicUsize,
}

impl Clients {
    async fn run(self: Arc<Self>, client_number: u64, kind: Client) {
        let mut random = Random::new(SEED ^ client_number);
        let kept = client();
        while !self.stop.load(Ordering::Relaxed) {
            let answer = match kind {
                Client::Fresh => self.call(&client(), client_number).await,
                Client::KeepAlive | Client::Idler => self.call(&kept, client_number).await,
            };
            let answer = answer
                .unwrap_or_else(|error| panic!("seed {SEED}: a {kind:?} client's call failed: {error:?}"));
            assert_eq!(answer["errcode"], 0, "seed {SEED}: {kind:?}: {answer}");
            self.answered.fetch_add(1, Ordering::Relaxed);
            let pause = if kind == Client::Idler { random.below(800) } else { random.below(10) };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn call(&self, http: &reqwest::Client, client_number: u64) -> reqwest::Result<Value> {
        let request = if client_number.is_multiple_of(2) {
            http.get(format!("{}/cgi-bin/user/get?userid=zhangsan", self.url))
        } else {
            let agent: u32 = AGENT.parse().unwrap();
            let text = json!({"content": "deploy"});
            let body = json!({"touser": "zhangsan", "msgtype": "text", "agentid": agent, "text": text});
            http.post(format!("{}/cgi-bin/message/send", self.url)).json(&body)
        };
        request.bearer_auth(&self.api_key).send().await?.json().await
    }

    async fn more_calls(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        let enough = async || self.answered.load(Ordering::Relaxed) >= before + CALLS_BETWEEN;
        until("the clients go on", enough).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploys_under_load_lose_no_call_and_count_each_once() {
    let sandbox = Sandbox::start();
    sandbox.post("settings", json!({"limits": "none"})).await;
    let ledger = Ledger::new(sandbox.url());
    for limit in ["corp-api-minute", "corp-api-hour"] {
        ledger.ok(&["limits", "set", CORP, limit, "1000000"]);
    }
    let listen = format!("127.0.0.1:{}", free_port());
    let flags = ["--listen", listen.as_str(), "--reuse-port", "--egress-ip", "deploy"];
    let mut old = ledger.serve_with(&flags, None);
    let clients = Arc::new(Clients {
        url: old.url().to_owned(),
        api_key: ledger.app_key.clone(),
        stop: AtomicBool::new(false),
        answered: AtomicUsize::new(0),
    });
    let mut running = JoinSet::new();
    let kinds =
        [Client::KeepAlive, Client::KeepAlive, Client::Fresh, Client::Fresh, Client::Idler, Client::Idler];
    for (n, kind) in kinds.into_iter().cycle().take(12).enumerate() {
        running.spawn(Arc::clone(&clients).run(n as u64, kind));
    }
    for deploy in 0..DEPLOYS {
        clients.more_calls().await;
        let new = ledger.serve_with(&flags, None);
        clients.more_calls().await;
        let ended = old.process.terminate();
        assert!(ended.success(), "deploy {deploy}: {ended}\n{}", old.process.log());
        old = new;
    }
    clients.more_calls().await;
    clients.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or_else(|failed| panic!("{failed}"));
    }

    let answered = clients.answered.load(Ordering::Relaxed);
    let entries = ledger.entries(&old).await;
    let count = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!((count("call.pending"), count("call.posted")), (answered, answered));
    assert_eq!((count("credential.pending"), count("credential.posted")), (1, 1));
    assert_eq!(sandbox.calls("gettoken").await, 1);
    assert_eq!(sandbox.requests().await.len(), answered + 1);
    assert_eq!((count("process.started"), count("process.ended")), (DEPLOYS + 1, DEPLOYS));
    // Every process did its part.
    for process in entries.iter().filter(|entry| entry["kind"] == "process.started") {
        let own = |entry: &&Value| entry["kind"] == "call.pending" && entry["process"] == process["seq"];
        assert!(entries.iter().filter(own).count() > 0, "{process}");
    }
    let drained = entries.iter().filter(|entry| entry["kind"] == "process.ended");
    assert!(drained.map(|entry| &entry["how"]).all(|how| how == "drained"));
}
