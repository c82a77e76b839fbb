//! Large bodies, cut answers, slow and vanishing clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use crate::support::{CORP, Entry, Ledger, Sandbox, Server, Upstream, raw, until};

const MB: usize = 1 << 20;

fn kinds<'a>(entries: &'a [Entry], kind: &str) -> Vec<&'a Entry> {
    entries.iter().filter(|entry| entry["kind"] == kind).collect()
}

/// Byte number i is i mod 251, as in the sandbox's big files.
fn pattern(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|i| (i % 251) as u8).collect()
}

/// The most memory that the server has ever had, in bytes.
fn peak_memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn the_outcome_is_posted_even_if_the_client_hangs_up() {
    let go = Arc::new(Semaphore::new(0));
    let may_answer = Arc::clone(&go);
    let upstream = Upstream::start(move |_, mut stream| {
        let go = Arc::clone(&may_answer);
        async move {
            let _allowed = go.acquire().await.unwrap();
            let answer = br#"{"errcode":0,"errmsg":"ok","msgid":"m"}"#;
            raw::reply(&mut stream, "content-type: application/json\r\n", answer).await;
        }
    })
    .await;
    let ledger = Ledger::new(&upstream.url);
    let server = ledger.serve();
    let target = format!("/cgi-bin/message/send?access_token={}", server.token().await);
    let head = format!("POST {target} HTTP/1.1\r\ncontent-length: 2");
    let client = raw::send(server.url(), &head, b"{}").await;
    until("the call is with WeCom", async || upstream.requests().len() == 1).await;
    drop(client);
    assert!(kinds(&ledger.entries(&server).await, "call.posted").is_empty());
    go.add_permits(2);
    until("it is posted", async || !kinds(&ledger.entries(&server).await, "call.posted").is_empty()).await;
    let entries = ledger.entries(&server).await;
    let posted = kinds(&entries, "call.posted")[0];
    assert_eq!((&posted["errcode"], &posted["api"]), (&json!(0), &json!("message/send")));
}

#[tokio::test]
async fn a_short_answer_that_breaks_off_is_an_error_and_never_a_success() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    sandbox.fault(json!({"path": "message/send", "kind": "truncate", "when": "after", "times": 1})).await;
    sandbox.fault(json!({"path": "user/get", "kind": "truncate", "when": "after", "times": 1})).await;
    assert_eq!(server.send_message("zhangsan", "hello").await["errcode"], -9001);
    assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], -1);
    assert_eq!(sandbox.get("messages").await["messages"].as_array().unwrap().len(), 1);
    let entries = ledger.entries(&server).await;
    let posted = kinds(&entries, "call.posted");
    assert_eq!(posted.len(), 2);
    for entry in posted {
        assert_eq!((&entry["incomplete"], &entry["http_status"]), (&json!("truncated"), &json!(200)));
    }
}

#[tokio::test]
async fn a_long_answer_that_breaks_off_reaches_the_client_as_a_broken_transfer() {
    for chunked in [false, true] {
        let upstream = Upstream::start(move |_, mut stream| async move {
            let length = if chunked { "transfer-encoding: chunked" } else { "content-length: 4194304" };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n{length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for megabyte in 0..3 {
                let mut piece = pattern(megabyte * MB..(megabyte + 1) * MB);
                if chunked {
                    piece = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
                }
                stream.write_all(&piece).await.unwrap();
            }
            stream.shutdown().await.unwrap();
        })
        .await;
        let ledger = Ledger::new(&upstream.url);
        let server = ledger.serve();
        let target = format!("/cgi-bin/media/get?media_id=m&access_token={}", server.token().await);
        let answer = raw::get(server.url(), &target).await;
        assert!(!answer.whole, "a clean end of a broken answer, chunked: {chunked}");
        assert!(
            server.http.get(server.url().to_owned() + &target).send().await.unwrap().bytes().await.is_err()
        );
        let entries = ledger.entries(&server).await;
        let posted = kinds(&entries, "call.posted");
        assert_eq!(posted.len(), 2);
        assert!(posted.iter().all(|entry| entry["incomplete"] == "truncated"), "{posted:?}");
        assert_eq!(posted[0]["response_bytes"], 3 * MB);
    }
}

#[tokio::test]
async fn an_upload_of_20_mb_survives_a_token_that_has_ended() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0);
    sandbox.revoke(42001).await;
    let memory = peak_memory(&server);

    let file = pattern(7..7 + 20 * MB);
    let form = Form::new().part("media", Part::bytes(file.clone()).file_name("report.bin"));
    let url = format!("{}/cgi-bin/media/upload?type=file", server.url());
    let request = server.http.post(url).bearer_auth(&ledger.app_key).multipart(form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["errcode"], 0, "{answer}");
    let grown = peak_memory(&server) - memory;
    assert!(grown < 12 * MB, "an upload of 20 MB took {grown} bytes of memory");
    let spool = std::fs::read_dir(ledger.data_dir().join("spool")).unwrap();
    assert_eq!(spool.count(), 0, "bodies lie about under a name");

    let entries = ledger.entries(&server).await;
    let pendings: Vec<_> =
        kinds(&entries, "call.pending").into_iter().filter(|entry| entry["api"] == "media/upload").collect();
    assert_eq!(pendings.len(), 2);
    assert_eq!(pendings[1]["retry_of"], pendings[0]["seq"]);
    assert_eq!(pendings[0]["request_sha256"], pendings[1]["request_sha256"]);
    let requests = sandbox.requests().await;
    let uploads: Vec<_> = requests.iter().filter(|request| request["api"] == "media/upload").collect();
    assert_eq!(uploads.len(), 2);
    for upload in uploads {
        assert_eq!(upload["body_sha256"], pendings[0]["request_sha256"]);
    }
    let media_id = answer["media_id"].as_str().unwrap();
    let url = format!("{}/cgi-bin/media/get?media_id={media_id}", server.url());
    let download = server.http.get(url).bearer_auth(&ledger.app_key).send().await.unwrap();
    assert!(download.headers()["content-disposition"].to_str().unwrap().contains("report.bin"));
    assert!(download.bytes().await.unwrap() == file, "the file came back changed");
}

#[tokio::test]
async fn a_range_of_a_file_comes_as_it_was_asked_for() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let size = 50 * MB;
    let file = sandbox.post("media", json!({"corp_id": CORP, "filename": "big.bin", "size": size})).await;
    let url = format!("{}/cgi-bin/media/get?media_id={}", server.url(), file["media_id"].as_str().unwrap());
    let get =
        |range: String| server.http.get(&url).bearer_auth(&ledger.app_key).header("range", range).send();
    for (range, part) in [
        (format!("bytes={}-{}", 5 * MB, 25 * MB - 1), 5 * MB..25 * MB),
        (format!("bytes={}-", size - 100), size - 100..size),
        ("bytes=-7".to_owned(), size - 7..size),
    ] {
        let answer = get(range).await.unwrap();
        assert_eq!(answer.status(), 206);
        let expected = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(answer.headers()["content-range"], *expected);
        assert_eq!(answer.content_length(), Some(part.len() as u64));
        assert!(answer.bytes().await.unwrap() == pattern(part), "{expected}: other bytes");
    }
    let whole: Value =
        server.get("media/get", &format!("media_id={}", file["media_id"].as_str().unwrap())).await;
    assert_eq!(whole["errcode"], 830_002);
    let entries = ledger.entries(&server).await;
    let posted: Vec<_> = kinds(&entries, "call.posted");
    assert!(posted[..3].iter().all(|entry| entry["http_status"] == 206 && entry["incomplete"].is_null()));
    assert_eq!(posted[0]["response_bytes"], 20 * MB);
    assert_eq!(posted[3]["errcode"], 830_002);
}

#[tokio::test]
async fn a_body_of_100_mib_is_refused_before_anything_is_sent() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let target = format!("/cgi-bin/media/upload?type=file&access_token={}", server.token().await);
    let arrived = sandbox.requests().await.len();
    let memory = peak_memory(&server);
    // It is told before it sends.
    let declared = format!("POST {target} HTTP/1.1\r\ncontent-length: {}", 100 * MB);
    let answer = raw::exchange(server.url(), &declared, b"").await;
    assert_eq!((answer.status(), answer.json()["errcode"].as_i64()), (200, Some(-9002)));
    assert!(answer.json()["errmsg"].as_str().unwrap().contains("33554432"), "{:?}", answer.json());
    // It does not say how long it is.
    let chunked = format!("POST {target} HTTP/1.1\r\ntransfer-encoding: chunked");
    let client = raw::send(server.url(), &chunked, b"").await;
    let (mut from_server, mut to_server) = client.into_split();
    let endless = async {
        let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; MB], b"\r\n"].concat();
        while to_server.write_all(&chunk).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    // It is told before it has come to an end, which it never does.
    let answer = tokio::select! {
        answer = raw::Message::read(&mut from_server) => answer,
        () = endless => unreachable!(),
    };
    assert!(answer.whole && answer.json()["errcode"] == -9002, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(peak_memory(&server) - memory < 12 * MB);
    assert_eq!(sandbox.requests().await.len(), arrived);
    assert!(kinds(&ledger.entries(&server).await, "call.pending").is_empty());
    assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], 0);
}

#[tokio::test]
async fn a_slow_client_slows_wecom_down_and_not_the_gateways_memory() {
    let size = 200 * MB;
    let written = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&written);
    let upstream = Upstream::start(move |_, mut stream| {
        let written = Arc::clone(&progress);
        async move {
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {size}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for megabyte in 0..size / MB {
                let piece = pattern(megabyte * MB..(megabyte + 1) * MB);
                stream.write_all(&piece).await.unwrap();
                written.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    let ledger = Ledger::new(&upstream.url);
    let server = ledger.serve();
    let target = format!("/cgi-bin/media/get?media_id=m&access_token={}", server.token().await);
    let memory = peak_memory(&server);
    let mut client = raw::send(server.url(), &format!("GET {target} HTTP/1.1"), b"").await;
    let mut received = Vec::with_capacity(size + 4096);
    while received.len() < 3 * MB {
        client.read_buf(&mut received).await.unwrap();
    }
    // What is on the way fits into the buffers of two connections; then WeCom has to wait.
    let mut before = u64::MAX;
    until("the upstream is held up", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::mem::replace(&mut before, written.load(Ordering::Relaxed)) == before
    })
    .await;
    assert!(before < 50, "{before} of 200 MB were taken from WeCom for a client that does not read");
    assert!(kinds(&ledger.entries(&server).await, "call.posted").is_empty());
    while client.read_buf(&mut received).await.unwrap() > 0 {
        let head = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        if received.len() == head + size {
            break;
        }
    }
    assert!(received.ends_with(&pattern(size - 3 * MB..size)), "other bytes than WeCom's");
    let grown = peak_memory(&server) - memory;
    // Most of it is what the allocator keeps for the next one: twice as long a download takes no more.
    assert!(grown < 64 * MB, "a download of 200 MB took {grown} bytes of memory");
    let entries = ledger.entries(&server).await;
    assert_eq!(kinds(&entries, "call.posted")[0]["response_bytes"], size);
}
