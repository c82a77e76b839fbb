//! A full disk and failing fsync: refused cleanly, nothing sent, and back as soon as writing works again.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::support::{
    AGENT, Entry, Fiu, Ledger, Sandbox, Server, Upstream, limit_file_size, raw, sql, until,
};

const UNKNOWN: i64 = -9001;

fn kinds<'a>(entries: &'a [Entry], kind: &str) -> Vec<&'a Entry> {
    entries.iter().filter(|entry| entry["kind"] == kind).collect()
}

/// Messages that were sent through a server: the digest of each request's body, and the errcode of its answer.
#[derive(Default)]
struct Sent(Vec<(String, i64)>);

impl Sent {
    /// Sends `count` messages at the same time.
    async fn burst(&mut self, server: &Server, count: usize) {
        let token = server.gettoken().await["access_token"].as_str().map(str::to_owned);
        let first = self.0.len();
        let calls = (first..first + count).map(|number| {
            let text = json!({"content": format!("message {number}")});
            let agent: u32 = AGENT.parse().unwrap();
            let body =
                json!({"touser": "zhangsan", "msgtype": "text", "agentid": agent, "text": text}).to_string();
            let token = token.as_deref().expect("gettoken answers from memory while the disk is full");
            let url = format!("{}/cgi-bin/message/send?access_token={token}", server.url());
            async move {
                let digest: Vec<String> =
                    Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
                let response = server.http.post(url).body(body).send().await.unwrap();
                assert_eq!(response.status(), 200);
                let answer: Value = response.json().await.unwrap();
                assert!(answer["errmsg"].is_string(), "{answer}");
                (digest.concat(), answer["errcode"].as_i64().unwrap())
            }
        });
        self.0.extend(join_all(calls).await);
    }

    fn last(&self, count: usize) -> Vec<i64> {
        self.0[self.0.len() - count..].iter().map(|(_, errcode)| *errcode).collect()
    }

    /// What must hold of the ledger, of what arrived upstream and of what clients were told.
    async fn agree_with(&self, entries: &[Entry], sandbox: &Sandbox) {
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry["seq"], at + 1, "a gap");
        }
        let arrived: HashSet<String> = sandbox
            .requests()
            .await
            .iter()
            .filter(|request| request["api"] == "message/send")
            .map(|request| request["body_sha256"].as_str().unwrap().to_owned())
            .collect();
        let pendings = kinds(entries, "call.pending");
        let settled = |pending: &Entry| -> Vec<&Entry> {
            entries.iter().filter(|entry| entry["pending_seq"] == pending["seq"]).collect()
        };
        for digest in &arrived {
            assert!(
                pendings.iter().any(|pending| pending["request_sha256"] == **digest),
                "sent off the record"
            );
        }
        for (digest, errcode) in &self.0 {
            let pending: Vec<_> =
                pendings.iter().filter(|pending| pending["request_sha256"] == **digest).collect();
            assert!(pending.len() <= 1, "one call, two pendings: {pending:?}");
            let ends: Vec<&Entry> = pending.iter().flat_map(|pending| settled(pending)).collect();
            match *errcode {
                0 => assert!(
                    arrived.contains(digest) && ends.len() == 1 && ends[0]["kind"] == "call.posted",
                    "acknowledged, but the ledger says {ends:?}"
                ),
                UNKNOWN => assert!(
                    arrived.contains(digest) && ends.len() == 1 && ends[0]["kind"] == "call.expired",
                    "unknown, but the ledger says {ends:?}"
                ),
                -1 => {
                    assert!(!arrived.contains(digest), "refused, but sent");
                    assert!(ends.iter().all(|end| end["kind"] == "call.expired"), "{ends:?}");
                    assert_eq!(ends.len(), pending.len(), "a pending that nobody answers for stays open");
                }
                other => panic!("errcode {other}"),
            }
        }
    }
}

async fn readyz(server: &Server) -> u16 {
    server.http.get(format!("{}/readyz", server.url())).send().await.unwrap().status().as_u16()
}

async fn works_again(server: &Server) {
    until("calls succeed again", async || server.get("user/get", "userid=zhangsan").await["errcode"] == 0)
        .await;
    assert_eq!(readyz(server).await, 200);
}

async fn nothing_arrives(sandbox: &Sandbox, server: &Server, sent: &mut Sent) {
    let before = sandbox.requests().await.len();
    for _ in 0..4 {
        sent.burst(server, 15).await;
        assert_eq!(sent.last(15), [-1; 15]);
        assert_eq!(server.get("user/get", "userid=zhangsan").await["errcode"], -1);
        until("readyz says so", async || readyz(server).await == 503).await;
    }
    assert_eq!(sandbox.requests().await.len(), before, "something was sent");
}

/// Ends the server and looks at the file with another SQLite.
fn check_file(ledger: &Ledger, mut server: Server) {
    assert!(server.process.terminate().success());
    assert_eq!(sql(&ledger.database(), "pragma integrity_check"), [["ok"]]);
    let dense = sql(&ledger.database(), "select count(*) = max(seq), min(seq) from entry");
    assert_eq!(dense, [[1, 1]]);
}

#[tokio::test]
async fn while_the_disk_is_full_calls_are_refused_and_nothing_is_sent_and_then_it_goes_on() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let mut sent = Sent::default();
    sent.burst(&server, 5).await;
    assert_eq!(sent.last(5), [0; 5]);

    limit_file_size(server.process.pid(), Some(0));
    nothing_arrives(&sandbox, &server, &mut sent).await;
    let large =
        server.http.post(format!("{}/cgi-bin/user/update", server.url())).bearer_auth(&ledger.app_key);
    let answer: Value = large.body(vec![b' '; 200_000]).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["errcode"], -1, "{answer}");
    // Who has no such limit may write meanwhile.
    ledger.create_key("meanwhile", "call", &[AGENT]);
    assert_eq!(readyz(&server).await, 503);

    limit_file_size(server.process.pid(), None);
    works_again(&server).await;
    sent.burst(&server, 5).await;
    assert_eq!(sent.last(5), [0; 5]);
    let entries = ledger.entries(&server).await;
    sent.agree_with(&entries, &sandbox).await;
    assert!(!kinds(&entries, "store.recovered").is_empty());
    assert_eq!(sandbox.calls("user/update").await, 0);
    check_file(&ledger, server);
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_batch_leaves_no_half_of_it() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let wal = ledger.data_dir().join("ledger.db-wal");
    let mut sent = Sent::default();
    sent.burst(&server, 1).await;
    // Within the header of a frame, within its page, between two frames, within a later one.
    for room in [1, 24, 2000, 4120, 4130, 9000, 13_000, 30_000] {
        let size = std::fs::metadata(&wal).unwrap().len();
        limit_file_size(server.process.pid(), Some(size + room));
        // The ledger may find room again by itself, in the part of the WAL that was written back.
        sent.burst(&server, 30).await;
        limit_file_size(server.process.pid(), None);
        works_again(&server).await;
    }
    let entries = ledger.entries(&server).await;
    assert!(!kinds(&entries, "store.recovered").is_empty(), "the disk was never full");
    sent.agree_with(&entries, &sandbox).await;
    check_file(&ledger, server);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_written_is_unknown_to_the_client_and_spent_in_the_ledger() {
    let go = Arc::new(Semaphore::new(0));
    let may_answer = Arc::clone(&go);
    let upstream = Upstream::start(move |_, mut stream| {
        let go = Arc::clone(&may_answer);
        async move {
            let _allowed = go.acquire().await.unwrap();
            raw::reply(&mut stream, "content-type: application/json\r\n", br#"{"errcode":0,"errmsg":"ok"}"#)
                .await;
        }
    })
    .await;
    let ledger = Ledger::new(&upstream.url);
    let server = ledger.serve();
    let pid = server.process.pid();
    let fill_the_disk = async {
        until("both calls are with WeCom", async || upstream.requests().len() == 2).await;
        limit_file_size(pid, Some(0));
        go.add_permits(2);
    };
    let (message, read, ()) = tokio::join!(
        server.send_message("zhangsan", "hello"),
        server.get("user/get", "userid=x"),
        fill_the_disk
    );
    assert_eq!((message["errcode"].as_i64(), read["errcode"].as_i64()), (Some(UNKNOWN), Some(-1)));

    limit_file_size(pid, None);
    until("both are spent", async || kinds(&ledger.entries(&server).await, "call.expired").len() == 2).await;
    let entries = ledger.entries(&server).await;
    assert!(kinds(&entries, "call.posted").is_empty() && kinds(&entries, "call.voided").is_empty());
    assert_eq!(kinds(&entries, "call.pending").len(), 2);
    assert_eq!(upstream.requests().len(), 2);
    check_file(&ledger, server);
}

fn serve_with_fiu(ledger: &Ledger, fiu: &Fiu) -> Server {
    let mut command = ledger.serve_command(&[]);
    fiu.give_to(&mut command);
    ledger.serve_from(command)
}

#[tokio::test]
async fn while_fsync_fails_calls_are_refused_and_nothing_is_sent_and_then_it_goes_on() {
    let sandbox = Sandbox::start();
    let (ledger, fiu) = (Ledger::new(sandbox.url()), Fiu::new());
    let server = serve_with_fiu(&ledger, &fiu);
    let pid = server.process.pid();
    let mut sent = Sent::default();
    sent.burst(&server, 5).await;
    assert_eq!(sent.last(5), [0; 5]);
    fiu.tell(pid, "enable name=posix/io/sync/*");
    nothing_arrives(&sandbox, &server, &mut sent).await;
    fiu.tell(pid, "disable name=posix/io/sync/*");
    works_again(&server).await;
    sent.burst(&server, 5).await;
    assert_eq!(sent.last(5), [0; 5]);
    let entries = ledger.entries(&server).await;
    assert!(!kinds(&entries, "store.recovered").is_empty());
    sent.agree_with(&entries, &sandbox).await;
    check_file(&ledger, server);
}

#[tokio::test]
async fn fsync_that_fails_now_and_then_loses_no_acknowledged_call() {
    let sandbox = Sandbox::start();
    let (ledger, fiu) = (Ledger::new(sandbox.url()), Fiu::new());
    let server = serve_with_fiu(&ledger, &fiu);
    let pid = server.process.pid();
    let mut sent = Sent::default();
    sent.burst(&server, 1).await;
    fiu.tell(pid, "enable_random name=posix/io/sync/*,probability=0.3");
    until("fsync has failed ten times", async || {
        sent.burst(&server, 10).await;
        fiu.tell(pid, "disable name=posix/io/sync/*");
        works_again(&server).await;
        let failed = kinds(&ledger.entries(&server).await, "store.recovered").len() >= 10;
        fiu.tell(pid, "enable_random name=posix/io/sync/*,probability=0.3");
        failed
    })
    .await;
    fiu.tell(pid, "disable name=posix/io/sync/*");
    works_again(&server).await;
    sent.agree_with(&ledger.entries(&server).await, &sandbox).await;
    check_file(&ledger, server);
}

#[test]
fn a_command_that_cannot_write_fails_with_a_reason_and_changes_nothing() {
    let ledger = Ledger::new("http://127.0.0.1:1");
    let head = || sql(&ledger.database(), "select count(*), max(seq) from entry");
    let before = head();
    for arguments in
        [&["key", "create", "--name", "x", "--scope", "admin"][..], &["serve", "--listen", "127.0.0.1:0"]]
    {
        let output = full_disk(ledger.command(arguments)).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(!stderr.trim().is_empty() && output.stdout.is_empty());
    }
    assert_eq!(head(), before);
}

fn full_disk(mut command: std::process::Command) -> std::process::Command {
    use std::os::unix::process::CommandExt as _;
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit is async-signal-safe, and `limit` is the closure's own.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}
