//! The programs of a simulated company: they know a base URL and an API key, as real ones would. One of them does not
//! know the ledger at all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CORP, Stage};

/// More than the simulated WeCom allows in a minute.
const HIDDEN_MAX: usize = 1_200;

/// Starts them all; each ends soon after `stopping` turns true.
pub(super) fn start(stage: &Arc<Stage>, stopping: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let with = |at: usize| Program::new(stage, at, stopping.clone());
    vec![
        tokio::spawn(alerts(with(0))),
        tokio::spawn(one_time_passwords(with(1))),
        tokio::spawn(directory_sync(with(1))),
        tokio::spawn(greedy_batch(with(2))),
        tokio::spawn(greedy_batch(with(2))),
        tokio::spawn(greedy_batch(with(2))),
        tokio::spawn(files(with(0))),
        tokio::spawn(wecom_revokes(Arc::clone(stage), stopping.clone())),
        tokio::spawn(past_the_ledger(Arc::clone(stage), stopping.clone())),
    ]
}

/// One program: gets a token as WeCom's documentation says, keeps it, and gets another when it is told to.
struct Program {
    http: reqwest::Client,
    base: String,
    agent_id: u32,
    secret: String,
    token: String,
    stopping: watch::Receiver<bool>,
}

impl Program {
    fn new(stage: &Stage, at: usize, stopping: watch::Receiver<bool>) -> Self {
        let (label, key) = stage.key(at);
        let agent_id = label.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap_or_default();
        let base = format!("{}/cgi-bin", stage.gateway);
        Self { http, base, agent_id, secret: key.to_owned(), token: String::new(), stopping }
    }

    async fn rest(&mut self, millis: u64) -> bool {
        let stop = self.stopping.wait_for(|stopping| *stopping);
        tokio::time::timeout(Duration::from_millis(millis), stop).await.is_err()
    }

    async fn gettoken(&mut self) {
        let query = [("corpid", CORP), ("corpsecret", &self.secret)];
        let answer = self.http.get(format!("{}/gettoken", self.base)).query(&query).send().await;
        if let Ok(answer) = answer
            && let Ok(answer) = answer.json::<Value>().await
        {
            answer["access_token"].as_str().unwrap_or_default().clone_into(&mut self.token);
        }
    }

    /// One call; answers WeCom's JSON and how long to wait if there was a limit.
    async fn call(&mut self, api: &str, query: &str, body: Option<Value>) -> (Value, Option<u64>) {
        if self.token.is_empty() {
            self.gettoken().await;
        }
        let url = format!("{}/{api}?access_token={}{query}", self.base, self.token);
        let request = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url),
        };
        let Ok(response) = request.send().await else { return (Value::Null, None) };
        let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse().ok());
        let answer: Value = response.json().await.unwrap_or_default();
        if matches!(answer["errcode"].as_i64(), Some(40014 | 42001)) {
            self.token.clear();
        }
        (answer, wait)
    }

    fn text(&self, to: &str, text: &str) -> Value {
        json!({"touser": to, "msgtype": "text", "agentid": self.agent_id, "text": {"content": text}})
    }
}

async fn alerts(mut program: Program) {
    let mut count = 0;
    while program.rest(1700).await {
        count += 1;
        let body = program.text("@all", &format!("[FIRING] DiskAlmostFull no. {count}"));
        program.call("message/send", "", Some(body)).await;
        if count == 2 {
            // For its own purposes; the ledger reads along and knows then whom @all reaches.
            let agent = format!("&agentid={}", program.agent_id);
            program.call("department/list", "", None).await;
            program.call("user/simplelist", "&department_id=1&fetch_child=1", None).await;
            program.call("agent/get", &agent, None).await;
        }
    }
}

async fn one_time_passwords(mut program: Program) {
    while program.rest(350).await {
        let body = program.text("zhangsan|nobody-here", "Your code is 493027");
        program.call("message/send", "", Some(body)).await;
    }
}

async fn directory_sync(mut program: Program) {
    while program.rest(900).await {
        program.call("department/list", "", None).await;
        program.call("user/simplelist", "&department_id=1", None).await;
    }
}

/// Reads members as fast as it can until the limit says no, then waits as long as it is told, but not patiently.
async fn greedy_batch(mut program: Program) {
    while program.rest(8).await {
        let (_, wait) = program.call("user/get", "&userid=zhangsan", None).await;
        if let Some(wait) = wait
            && !program.rest(wait.min(2) * 1000).await
        {
            return;
        }
    }
}

async fn files(mut program: Program) {
    while program.rest(4000).await {
        if program.token.is_empty() {
            program.gettoken().await;
        }
        let url = format!("{}/media/upload?access_token={}&type=file", program.base, program.token);
        let upload = program.http.post(url).header("content-type", "multipart/form-data; boundary=demo");
        let Ok(answer) = upload.body(report()).send().await else { continue };
        let media: Value = answer.json().await.unwrap_or_default();
        if let Some(id) = media["media_id"].as_str() {
            let url = format!("{}/media/get?access_token={}&media_id={id}", program.base, program.token);
            let _ = program.http.get(url).send().await;
        }
    }
}

/// A file of 200 kB as one part of a form, which is all that the demo needs of that format.
fn report() -> String {
    let head = "content-disposition: form-data; name=\"media\"; filename=\"report.pdf\"";
    format!("--demo\r\n{head}\r\n\r\n{}\r\n--demo--\r\n", "x".repeat(200_000))
}

/// WeCom may end a token early whenever it likes. No program notices.
async fn wecom_revokes(stage: Arc<Stage>, mut stopping: watch::Receiver<bool>) {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap_or_default();
    for at in 0.. {
        let stop = stopping.wait_for(|stopping| *stopping);
        let pause = Duration::from_secs(if at == 0 { 5 } else { 20 });
        if tokio::time::timeout(pause, stop).await.is_ok() {
            return;
        }
        let (label, _) = stage.key(at);
        let agent_id: u32 = label.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or_default();
        let revoke = json!({"corp_id": CORP, "agent_id": agent_id, "errcode": 42001});
        let _ = http.post(format!("{}/sandbox/revoke", stage.sandbox)).json(&revoke).send().await;
    }
}

/// A forgotten script with a secret of its own, which asks WeCom itself until that says no.
async fn past_the_ledger(stage: Arc<Stage>, mut stopping: watch::Receiver<bool>) {
    let stop = stopping.wait_for(|stopping| *stopping);
    if tokio::time::timeout(Duration::from_secs(9), stop).await.is_ok() {
        return;
    }
    let Some(app) = crate::sandbox::CorpConfig::new(CORP, 500).apps.pop() else { return };
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap_or_default();
    let base = format!("{}/cgi-bin", stage.sandbox);
    let get = async |url: String| match http.get(url).send().await {
        Ok(answer) => answer.json::<Value>().await.unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let token = get(format!("{base}/gettoken?corpid={CORP}&corpsecret={}", app.secret)).await;
    let token = token["access_token"].as_str().unwrap_or_default();
    for _ in 0..HIDDEN_MAX {
        let answer = get(format!("{base}/user/simplelist?access_token={token}&department_id=1")).await;
        if answer["errcode"] != 0 || *stopping.borrow() {
            return;
        }
    }
}
