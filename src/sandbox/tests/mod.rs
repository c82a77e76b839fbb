//! The sandbox over HTTP, as its callers see it.

mod appchat;
mod calendar;
mod concurrent;
mod directory;
mod faults;
mod late;
mod limits;
mod media;
mod messages;
mod presets;
mod records;
mod rows;
mod tokens;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Config, Limits, run};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

const CORP: &str = "ww0123456789abcdef";
const AGENT: u32 = 1_000_001;

/// A sandbox on a port of its own.
struct Sandbox {
    address: SocketAddr,
    http: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Sandbox {
    fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let config = Config { workers: 1, request_log: 10_000, ..config };
        let task = tokio::spawn(run(listener, config, shutdown));
        crate::wecom::tls::install();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { address, http, stop, task }
    }

    /// With these limits, and tokens that outlive every test.
    fn limited(limits: Limits) -> Self {
        Self::start(Config { limits, token_lifetime_secs: 1_000_000_000, ..Config::default() })
    }

    /// Without any limit.
    fn unlimited() -> Self {
        Self::start(Config { limits: Limits::none(), ..Config::default() })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, api: &str, query: &[(&str, &str)]) -> Value {
        self.raw(api, query).await.json().await.unwrap()
    }

    async fn raw(&self, api: &str, query: &[(&str, &str)]) -> Response {
        self.http.get(self.url(&format!("/cgi-bin/{api}"))).query(query).send().await.unwrap()
    }

    async fn post(&self, api: &str, token: &str, body: &Value) -> Value {
        let url = self.url(&format!("/cgi-bin/{api}"));
        let request = self.http.post(url).query(&[("access_token", token)]).json(body);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn gettoken(&self, secret: &str) -> Value {
        self.get("gettoken", &[("corpid", CORP), ("corpsecret", secret)]).await
    }

    /// A token of the app 1000001.
    async fn token(&self) -> String {
        let answer = self.gettoken("sandbox-secret-1000001").await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// The errcode of a call that reads one member.
    async fn read(&self, token: &str) -> i64 {
        errcode(&self.get("user/get", &[("access_token", token), ("userid", "lisi")]).await)
    }

    async fn control(&self, path: &str, body: &Value) -> Value {
        let response = self.http.post(self.url(&format!("/sandbox/{path}"))).json(body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    async fn show(&self, path: &str) -> Value {
        self.http.get(self.url(&format!("/sandbox/{path}"))).send().await.unwrap().json().await.unwrap()
    }

    async fn advance(&self, ms: i64) {
        self.control("clock", &json!({"advance_ms": ms})).await;
    }

    async fn now(&self) -> i64 {
        self.show("clock").await["now_ms"].as_i64().unwrap()
    }

    /// What the stats say of a row of limits; of the key that had the most trips, if there are several.
    async fn row(&self, row: &str) -> Value {
        let stats = self.show("stats").await;
        let of_row = |counter: &&Value| counter["row"] == row;
        let counters = ["windows", "members", "concurrent"].map(|list| stats[list].as_array().unwrap());
        let found = counters.into_iter().flatten().filter(of_row).max_by_key(|of| of["trips"].as_u64());
        found.cloned().unwrap_or_else(|| panic!("nothing was counted for {row}: {stats}"))
    }

    /// Calls once more than `cap`; only the last call is refused, with `errcode`, and only by this row.
    async fn drive<F: AsyncFn(&Self) -> Value>(&self, row: &str, cap: usize, refusal: i64, call: F) {
        for n in 0..cap {
            assert_eq!(errcode(&call(self).await), 0, "{row}: call {n} of {cap}");
        }
        assert_eq!(self.show("stats").await["over"], 0, "{row}");
        assert_eq!(errcode(&call(self).await), refusal, "{row}");
        let stats = self.show("stats").await;
        assert_eq!((&stats["over"], &stats["over_by_row"]), (&json!(1), &json!({ row: 1 })));
        assert_eq!(self.row(row).await["trips"], 1);
    }

    /// Asks until what the control API shows is as wanted.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) {
        let asking = async { while !wanted(&self.show(path).await) {} };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("it happens within 20 s");
    }

    /// Everything that comes back for one GET, as bytes on the wire.
    async fn on_the_wire(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn errcode(answer: &Value) -> i64 {
    answer["errcode"].as_i64().unwrap_or_else(|| panic!("no errcode: {answer}"))
}
