//! Clients that call as fast as they are answered, and remember every answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use wecom_ledger::ledger::entry::hex_bytes;

use super::{AGENT, Server};

/// The APIs that are called, by turns.
pub const APIS: [&str; 4] = ["message/send", "checkin/getcheckindata", "oa/getapprovaldata", "user/get"];

/// How one call ended for its client.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Of the call's body, which no other call has.
    pub sha256: String,
    pub api: &'static str,
    pub errcode: i64,
    pub text: String,
}

/// All that the clients have seen.
#[derive(Default)]
pub struct Seen {
    pub answers: Mutex<Vec<Answer>>,
    /// Calls that got no answer: the URL of the server, and why.
    pub failures: Mutex<Vec<(String, String)>>,
    next: AtomicU64,
}

impl Seen {
    pub fn answered(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    pub fn with_errcode(&self, errcode: i64) -> usize {
        self.answers.lock().unwrap().iter().filter(|answer| answer.errcode == errcode).count()
    }

    /// Makes one call with a body of its own; false if it got no answer.
    pub async fn call(&self, http: &reqwest::Client, url: &str, api_key: &str) -> bool {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let api = APIS[n as usize % APIS.len()];
        let agent: u32 = AGENT.parse().unwrap();
        let body = json!({"touser": "zhangsan", "msgtype": "text", "agentid": agent,
            "text": {"content": format!("call {n}")}});
        let body = body.to_string();
        let sha256 = hex_bytes::encode(&Sha256::digest(&body));
        let request = http
            .post(format!("{url}/cgi-bin/{api}?userid=zhangsan"))
            .bearer_auth(api_key)
            .header("x-request-id", format!("call-{n}"))
            .header("content-type", "application/json")
            .body(body);
        let answer = async { request.send().await?.json::<Value>().await }.await;
        match answer {
            Ok(answer) => {
                let errcode = answer["errcode"].as_i64().unwrap_or_else(|| panic!("no errcode: {answer}"));
                let answer = Answer { sha256, api, errcode, text: answer.to_string() };
                self.answers.lock().unwrap().push(answer);
                true
            }
            Err(error) => {
                self.failures.lock().unwrap().push((url.to_owned(), format!("{error:?}")));
                false
            }
        }
    }
}

/// Callers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Load {
    /// `callers` for each server; a caller that gets no answer gives up.
    pub fn start(seen: &Arc<Seen>, servers: &[&Server], callers: usize) -> Self {
        let mut load = Self { stop: Arc::default(), callers: JoinSet::new() };
        for server in servers {
            for _ in 0..callers {
                let (seen, stop) = (Arc::clone(seen), Arc::clone(&load.stop));
                let (http, url, key) = (server.http.clone(), server.url().to_owned(), server.app_key.clone());
                load.callers.spawn(async move {
                    while !stop.load(Ordering::Relaxed) && seen.call(&http, &url, &key).await {}
                });
            }
        }
        load
    }

    /// Ends when the last call was answered.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}
