//! Debian's Alertmanager, unmodified, with WeCom as its only receiver.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{AGENT, CORP, client, until};

/// The package's binary reads this file by its absolute path.
const TEMPLATE: &str = "/usr/share/prometheus/alertmanager/default.tmpl";

/// Puts what the package holds where the package would have installed it, for this process alone.
const AS_IF_INSTALLED: &str = r#"mount --bind "$1" /usr/share && shift && exec "$@""#;

pub struct Alertmanager {
    url: String,
    http: reqwest::Client,
    child: Child,
    log: Arc<Mutex<String>>,
    _dir: tempfile::TempDir,
}

impl Alertmanager {
    /// Sends to the WeCom at `wecom`; each alert is a message of its own, with the alert's name as its text.
    pub async fn start(wecom: &str, secret: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("alertmanager.yml");
        std::fs::write(&config, configuration(wecom, secret)).unwrap();
        let mut command = command();
        command.arg("--config.file").arg(&config).arg("--storage.path").arg(dir.path().join("data"));
        command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", "--log.level=debug"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, writer) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = writer.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut alertmanager = Self { url: String::new(), http: client(), child, log, _dir: dir };
        until("Alertmanager listens", async || alertmanager.find_url()).await;
        alertmanager
    }

    fn find_url(&mut self) -> bool {
        let log = self.log();
        let ended = self.child.try_wait().unwrap();
        assert!(
            ended.is_none(),
            "Alertmanager ended: install prometheus-alertmanager, or allow user namespaces\n{log}"
        );
        let address =
            log.split_once("msg=\"Listening on\" address=").and_then(|(_, rest)| rest.lines().next());
        self.url = address.map(|address| format!("http://{address}")).unwrap_or_default();
        address.is_some()
    }

    /// Alerts that fire from now on, all posted at once.
    pub async fn fire(&self, names: &[&str]) {
        let alerts: Vec<_> = names.iter().map(|name| json!({"labels": {"alertname": name}})).collect();
        let response =
            self.http.post(format!("{}/api/v2/alerts", self.url)).json(&alerts).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    }

    /// What it has written to its log, which tells of each answer and each flush.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn lines(&self, words: &[&str]) -> usize {
        self.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// How many notifications it takes to have been delivered.
    pub fn successes(&self) -> usize {
        self.lines(&["msg=\"Notify success\""])
    }

    /// Waits until it takes `count` notifications to have been delivered.
    pub async fn until_successes(&self, count: usize) {
        let what = format!("Alertmanager takes {count} notifications to be delivered");
        until(&what, async || self.successes() >= count).await;
    }

    /// Waits until it has had another look at each of these alerts: by then it would have sent again what it missed.
    pub async fn until_flushed_again(&self, names: &[&str]) {
        let flushes = |name: &str| self.lines(&["msg=flushing", &format!("alertname=\\\"{name}\\\"")]);
        let before: Vec<usize> = names.iter().map(|name| flushes(name)).collect();
        until("Alertmanager looks at its alerts again", async || {
            names.iter().zip(&before).all(|(name, before)| flushes(name) >= before + 2)
        })
        .await;
    }

    /// Requests to WeCom that it knows to have failed, and notifications that it gave up.
    pub async fn failures(&self) -> [u64; 2] {
        let metrics =
            self.http.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        ["notification_requests_failed_total", "notifications_failed_total"].map(|name| {
            let name = format!("alertmanager_{name}{{integration=\"wechat\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
        })
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(wecom: &str, secret: &str) -> String {
    format!(
        "route:
  receiver: wecom
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 24h
receivers:
- name: wecom
  wechat_configs:
  - api_url: {wecom}/cgi-bin/
    corp_id: {CORP}
    api_secret: {secret}
    agent_id: '{AGENT}'
    to_user: zhangsan
    message: '{{{{ .GroupLabels.alertname }}}}'
    send_resolved: false
"
    )
}

fn command() -> Command {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/debian");
    let binary = package.join("usr/bin/prometheus-alertmanager");
    assert!(binary.exists(), "{} is missing: run tests/tools.sh", binary.display());
    if Path::new(TEMPLATE).exists() {
        return Command::new(binary);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", AS_IF_INSTALLED, "sh"]);
    command.arg(package.join("usr/share")).arg(binary);
    command
}
