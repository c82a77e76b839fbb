//! The simulated WeCom as a process, and its control API.

use serde_json::{Value, json};

use super::process::{Running, binary};
use super::{AGENT, CORP, TestClock, client};

pub struct Sandbox {
    pub process: Running,
    http: reqwest::Client,
}

impl Sandbox {
    pub fn start() -> Self {
        Self::with(&[], None)
    }

    /// With more flags, and with a clock of the test's.
    pub fn with(flags: &[&str], clock: Option<&TestClock>) -> Self {
        let mut command = binary();
        command.args(["sandbox", "--listen", "127.0.0.1:0"]).args(flags);
        if let Some(clock) = clock {
            clock.give_to(&mut command);
        }
        Self { process: Running::start(command), http: client() }
    }

    pub fn url(&self) -> &str {
        &self.process.url
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}/sandbox/{path}", self.url())).send().await.unwrap();
        response.json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let response =
            self.http.post(format!("{}/sandbox/{path}", self.url())).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{path} {body}: {}", response.text().await.unwrap());
        response.json().await.unwrap_or(Value::Null)
    }

    pub async fn delete(&self, path: &str) {
        let response = self.http.delete(format!("{}/sandbox/{path}", self.url())).send().await.unwrap();
        assert!(response.status().is_success());
    }

    /// Injects a fault: `{"path":"message/send","kind":"errcode","errcode":42001,"times":1}` and the like.
    pub async fn fault(&self, fault: Value) {
        self.post("faults", fault).await;
    }

    /// WeCom ends the app's tokens early: they then answer `errcode`.
    pub async fn revoke(&self, errcode: i64) {
        let agent: u32 = AGENT.parse().unwrap();
        self.post("revoke", json!({"corp_id": CORP, "agent_id": agent, "errcode": errcode})).await;
    }

    /// Every request that reached the sandbox.
    pub async fn requests(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page = self.get(&format!("requests?after={after}&limit=100000")).await;
            all.extend(page["requests"].as_array().unwrap().iter().cloned());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return all,
            }
        }
    }

    /// How often an API was called.
    pub async fn calls(&self, api: &str) -> usize {
        self.requests().await.iter().filter(|request| request["api"] == api).count()
    }
}
