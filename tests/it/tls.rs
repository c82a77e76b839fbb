//! TLS on both sides: one gateway is the WeCom of another, over HTTPS.

use crate::support::{Ledger, Running, Sandbox, client};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/localhost.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/localhost.key");

#[tokio::test]
async fn a_gateway_calls_and_is_called_over_https() {
    let sandbox = Sandbox::start();
    let outer = Ledger::new(sandbox.url());
    let server = outer.serve_with(&["--tls-cert", CERTIFICATE, "--tls-key", KEY], None);
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    assert!(server.url().starts_with("https://"), "{}", server.url());

    // To the inner one, the outer one's API key is the app's secret.
    let inner = Ledger::new(&format!("https://localhost:{port}"));
    inner.put_app(crate::support::AGENT, &outer.app_key);
    let call = async |command: std::process::Command| -> serde_json::Value {
        let running = Running::start(command);
        let url = format!("{}/cgi-bin/user/get?userid=zhangsan", running.url);
        client().get(url).bearer_auth(&inner.app_key).send().await.unwrap().json().await.unwrap()
    };
    let mut trusting = inner.serve_command(&[]);
    trusting.env("SSL_CERT_FILE", CERTIFICATE);
    assert_eq!(call(trusting).await["errcode"], 0);
    assert_eq!(sandbox.calls("user/get").await, 1);
}

#[tokio::test]
async fn an_upstream_that_nobody_vouches_for_gets_nothing() {
    let sandbox = Sandbox::start();
    let outer = Ledger::new(sandbox.url());
    let server = outer.serve_with(&["--tls-cert", CERTIFICATE, "--tls-key", KEY], None);
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let inner = Ledger::new(&format!("https://localhost:{port}"));
    let server = inner.serve();
    let answer = server.get("user/get", "userid=zhangsan").await;
    assert_eq!(answer["errcode"], -1, "{answer}");
    assert!(sandbox.requests().await.is_empty());
}
