//! Alerts reach whoever was told to hear of them: each, in order, also after a receiver that failed and a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::raw::{Message, Upstream};
use crate::support::{CORP, Ledger, Sandbox, until};

const SECRET: &str = "a secret of the webhook";

/// Takes what is posted, or fails while `down`.
async fn receiver(down: Arc<AtomicBool>) -> Upstream {
    Upstream::start(move |_: Message, mut stream: TcpStream| {
        let status = if down.load(Ordering::SeqCst) { "503 Service Unavailable" } else { "200 OK" };
        async move {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

fn taken(receiver: &Upstream, after: usize) -> Vec<Message> {
    receiver.requests().into_iter().skip(after).collect()
}

#[tokio::test]
async fn a_limit_that_fills_is_told_of_in_order_and_once_more_than_a_failure() {
    let sandbox = Sandbox::start();
    let down = Arc::new(AtomicBool::new(true));
    let receiver = receiver(Arc::clone(&down)).await;
    let ledger = Ledger::new(sandbox.url());
    let (url, secret) = (ledger.data_dir().join("hook"), ledger.data_dir().join("hook-secret"));
    std::fs::write(&url, format!("{}/alerts?key=hook-key-that-nobody-may-see\n", receiver.url)).unwrap();
    std::fs::write(&secret, SECRET).unwrap();
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "10"]);
    // Nobody listens yet, so nobody is ever told of these.
    let before = ledger.serve();
    for _ in 0..11 {
        before.get("department/list", "").await;
    }
    drop(before);
    let mut command = ledger.serve_command(&[]);
    command.env("WECOM_LEDGER_WEBHOOK_URL_FILE", &url).env("WECOM_LEDGER_WEBHOOK_SECRET_FILE", &secret);
    command.env("WECOM_LEDGER_LOG", "trace");
    let mut server = ledger.serve_from(command);
    for _ in 0..11 {
        server.get("user/get", "userid=zhangsan").await;
    }
    until("the receiver was tried", async || !receiver.requests().is_empty()).await;
    assert!(!server.process.log().contains("hook-key"), "the URL is a secret");
    server.process.kill();

    let failed = receiver.requests().len();
    down.store(false, Ordering::SeqCst);
    let mut command = ledger.serve_command(&[]);
    command.env("WECOM_LEDGER_WEBHOOK_URL_FILE", &url).env("WECOM_LEDGER_WEBHOOK_SECRET_FILE", &secret);
    let server = ledger.serve_from(command);
    let delivered = async || {
        let entries = ledger.entries(&server).await;
        entries.iter().filter(|entry| entry["kind"] == "webhook.delivered").count() == 3
    };
    until("all three thresholds were delivered", delivered).await;
    let taken = taken(&receiver, failed);
    let percents: Vec<i64> =
        taken.iter().map(|message| message.json()["entry"]["percent"].as_i64().unwrap()).collect();
    assert_eq!(percents, [80, 90, 100]);
    for message in &taken {
        assert!(message.json()["text"].as_str().unwrap().contains("corp-api-minute"));
        let signature = message.header("x-wecom-ledger-signature").unwrap();
        assert!(signature.starts_with("t=") && signature.contains(",v1="), "{signature}");
        assert_eq!(message.header("x-wecom-ledger-delivery").unwrap(), message.json()["id"].to_string());
    }
    // Nothing is told twice when it was taken.
    drop(server);
    let _server = ledger.serve();
    assert_eq!(receiver.requests().len(), failed + 3);
}

#[tokio::test]
async fn a_group_robot_is_sent_texts_one_after_the_other_as_slowly_as_it_takes_them() {
    let sandbox = Sandbox::start();
    let robot = receiver(Arc::new(AtomicBool::new(false))).await;
    let ledger = Ledger::new(sandbox.url());
    let url = ledger.data_dir().join("hook");
    std::fs::write(&url, format!("{}/cgi-bin/webhook/send?key=k\n", robot.url)).unwrap();
    ledger.ok(&["limits", "set", CORP, "corp-api-minute", "10"]);
    let mut command = ledger.serve_command(&[]);
    command.env("WECOM_LEDGER_WEBHOOK_URL_FILE", &url).env("WECOM_LEDGER_WEBHOOK_FORMAT", "wecom-robot");
    let server = ledger.serve_from(command);
    for _ in 0..9 {
        server.get("user/get", "userid=zhangsan").await;
    }
    until("both thresholds were delivered", async || robot.requests().len() == 2).await;
    for (message, percent) in robot.requests().iter().zip(["80 %", "90 %"]) {
        let json = message.json();
        assert_eq!(json["msgtype"], "text");
        let text = json["text"]["content"].as_str().unwrap();
        assert!(text.contains("corp-api-minute") && text.contains(percent), "{text}");
    }
    let delivered = async || {
        let entries = ledger.entries(&server).await;
        entries
            .iter()
            .filter(|it| it["kind"] == "webhook.delivered")
            .map(|it| it["tick"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    until("both are on record", async || delivered().await.len() == 2).await;
    let ticks = delivered().await;
    assert!(ticks[1] - ticks[0] >= 3_000, "a robot takes 20 messages a minute: {ticks:?}");
}

#[test]
fn a_webhook_without_a_readable_address_is_a_failure_at_the_start() {
    let ledger = Ledger::new("http://127.0.0.1:1");
    let file = ledger.data_dir().join("hook");
    for (content, what) in [(None, "can't read"), (Some(""), "is empty"), (Some("no url"), "must hold one")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let mut command = ledger.serve_command(&[]);
        let output = command.env("WECOM_LEDGER_WEBHOOK_URL_FILE", &file).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(what) && !stderr.contains("no url"), "{stderr}");
    }
}
