//! A data directory with the binary's command line, and servers on it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::process::{Running, binary};
use super::{AGENT, CORP, SECRET, TestClock, client};

/// One entry, as the REST API shows it.
pub type Entry = Value;

/// An initialised data directory with one corp, one app and one API key for it.
pub struct Ledger {
    dir: tempfile::TempDir,
    pub admin_key: String,
    /// Stands for the one app; scope `call`.
    pub app_key: String,
    upstream: String,
}

impl Ledger {
    /// Ready to be served, with `upstream` as its WeCom.
    pub fn new(upstream: &str) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), upstream)
    }

    pub fn in_dir(dir: tempfile::TempDir, upstream: &str) -> Self {
        let mut ledger =
            Self { dir, admin_key: String::new(), app_key: String::new(), upstream: upstream.to_owned() };
        ledger.json(&["init"])["api_key"].as_str().unwrap().clone_into(&mut ledger.admin_key);
        ledger.ok(&["corp", "add", CORP, "--accounts", "500"]);
        ledger.put_app(AGENT, SECRET);
        ledger.app_key = ledger.create_key("app", "call", &[AGENT]);
        ledger
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data_dir().join("ledger.db")
    }

    pub fn put_app(&self, agent: &str, secret: &str) {
        let output =
            self.run_with_input(&["app", "add", &format!("{CORP}/{agent}"), "--secret-file", "-"], secret);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn create_key(&self, name: &str, scope: &str, agents: &[&str]) -> String {
        let apps: Vec<String> = agents.iter().map(|agent| format!("{CORP}/{agent}")).collect();
        let mut arguments = vec!["key", "create", "--name", name, "--scope", scope];
        for app in &apps {
            arguments.extend(["--app", app]);
        }
        self.json(&arguments)["api_key"].as_str().unwrap().to_owned()
    }

    /// The command, with the data directory already given.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.args(arguments).arg("--data-dir").arg(self.data_dir());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments ends without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed; answers its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&arguments)).unwrap()
    }

    /// The command line of a server on a free port.
    pub fn serve_command(&self, flags: &[&str]) -> Command {
        let mut command = self.command(&["serve", "--upstream", &self.upstream]);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(flags);
        command
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[], None)
    }

    pub fn serve_with(&self, flags: &[&str], clock: Option<&TestClock>) -> Server {
        let mut command = self.serve_command(flags);
        if let Some(clock) = clock {
            clock.give_to(&mut command);
        }
        self.serve_from(command)
    }

    /// A server by a command line of the test's own.
    pub fn serve_from(&self, command: Command) -> Server {
        Server { process: Running::start(command), http: client(), app_key: self.app_key.clone() }
    }

    /// All entries, read from a copy of nothing: the REST API of `server`.
    pub async fn entries(&self, server: &Server) -> Vec<Entry> {
        self.entries_after(server, 0).await
    }

    /// The entries after `after`.
    pub async fn entries_after(&self, server: &Server, mut after: u64) -> Vec<Entry> {
        let mut all = Vec::new();
        loop {
            let page = server.rest(&self.admin_key, &format!("/v1/entries?after={after}&limit=1000")).await;
            all.extend(page["entries"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return all,
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A running `serve`.
pub struct Server {
    pub process: Running,
    pub http: reqwest::Client,
    pub app_key: String,
}

impl Server {
    pub fn url(&self) -> &str {
        &self.process.url
    }

    /// gettoken with the app's API key.
    pub async fn gettoken(&self) -> Value {
        self.gettoken_as(&self.app_key).await
    }

    pub async fn gettoken_as(&self, secret: &str) -> Value {
        let url = format!("{}/cgi-bin/gettoken", self.url());
        let query = [("corpid", CORP), ("corpsecret", secret)];
        self.http.get(url).query(&query).send().await.unwrap().json().await.unwrap()
    }

    /// A gateway token.
    pub async fn token(&self) -> String {
        let answer = self.gettoken().await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// GETs an API with the app's API key as bearer; `query` without the question mark.
    pub async fn get(&self, api: &str, query: &str) -> Value {
        let url = format!("{}/cgi-bin/{api}?{query}", self.url());
        self.http.get(url).bearer_auth(&self.app_key).send().await.unwrap().json().await.unwrap()
    }

    /// POSTs JSON to an API with the app's API key as bearer.
    pub async fn post(&self, api: &str, body: Value) -> Value {
        let url = format!("{}/cgi-bin/{api}", self.url());
        self.http.post(url).bearer_auth(&self.app_key).json(&body).send().await.unwrap().json().await.unwrap()
    }

    /// A text message to one member.
    pub async fn send_message(&self, to: &str, text: &str) -> Value {
        let agent: u32 = AGENT.parse().unwrap();
        let body =
            serde_json::json!({"touser": to, "msgtype": "text", "agentid": agent, "text": {"content": text}});
        self.post("message/send", body).await
    }

    /// GETs a path of our own REST API.
    pub async fn rest(&self, api_key: &str, path: &str) -> Value {
        let url = format!("{}{path}", self.url());
        self.http.get(url).bearer_auth(api_key).send().await.unwrap().json().await.unwrap()
    }
}
