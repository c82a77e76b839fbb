//! PyPI's wechatpy, unmodified, with the gateway as its WeCom.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{AGENT, Attempt, CORP, Ledger, Sandbox, Server, attempts};

/// The calls of the script's two halves, with the errcode that the ledger shows. A file comes without one.
const DIRECTORY: [(&str, Option<i64>); 12] = [
    ("user/create", Some(0)),
    ("user/get", Some(0)),
    ("user/get", Some(0)),
    ("user/simplelist", Some(0)),
    ("user/list", Some(0)),
    ("department/list", Some(0)),
    ("department/create", Some(0)),
    ("tag/list", Some(0)),
    ("tag/get", Some(0)),
    ("user/update", Some(0)),
    ("user/delete", Some(0)),
    ("user/get", Some(60111)),
];
const MESSAGES: [(&str, Option<i64>); 6] = [
    ("media/upload", Some(0)),
    ("media/get", None),
    ("message/send", Some(0)),
    ("message/send", Some(0)),
    ("message/send", Some(81013)),
    ("media/get", Some(40007)),
];

/// The script; killed if the test ends before it.
struct Script {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Script {
    fn start(server: &Server, secret: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("python3");
        command.arg(root.join("tests/it/wechatpy_calls.py")).args([server.url(), CORP, secret, AGENT]);
        command.env("PYTHONPATH", root.join("target/tools/python")).env("NO_PROXY", "*");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line that it prints; what it complains of is in the test's own output.
    fn result(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the script failed, see above; it printed: {line}"))
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_directory(result: &Value) {
    assert_eq!(result["user"]["userid"], "ZhangSan");
    assert_eq!(result["user"]["department"], json!([3]));
    assert_eq!(
        result["members"],
        json!(["ChenYi", "LinEr", "LiSi", "newcomer", "SunQi", "ZhangSan", "ZhouBa"])
    );
    assert_eq!(result["details"].as_array().unwrap().len(), 13);
    assert_eq!(result["departments"], json!(["Sandbox", "Engineering", "Backend", "Operations", "Sales"]));
    assert_eq!(result["department"]["id"], 6);
    assert_eq!(result["tags"], json!(["managers", "on-call"]));
    assert_eq!(result["tag"]["userlist"].as_array().unwrap().len(), 2);
    assert_eq!(
        [&result["created"], &result["updated"], &result["deleted"]],
        ["created", "updated", "deleted"]
    );
    assert_eq!(result["newcomer"], "New Comer");
    assert_eq!(result["gone"], 60111);
}

fn check_messages(result: &Value) {
    assert_eq!(result["uploaded"]["type"], "file");
    assert_eq!(result["same_bytes"], true);
    assert_eq!(result["disposition"], "attachment; filename=\"file.bin\"");
    assert_eq!(result["file"]["invaliduser"], "");
    assert_eq!(result["text"]["invaliduser"], "nobody");
    assert_eq!(result["to_nobody"], 81013);
    assert_eq!(result["no_such_media"], 40007);
    assert_eq!(result["token_fetches"], 1, "wechatpy fetched a token again");
}

/// What arrived, and that the ledger and the sandbox have seen these calls and no others.
async fn check_calls(sandbox: &Sandbox, attempts: &[Attempt], expected: &[(&str, Option<i64>)]) {
    let known: Vec<_> = attempts.iter().map(|attempt| (attempt.api.as_str(), attempt.errcode)).collect();
    assert_eq!(known, expected);
    assert!(attempts.iter().all(|attempt| attempt.end == "call.posted"), "{attempts:?}");
    let requests = sandbox.requests().await;
    let calls = requests.iter().filter(|request| request["api"] != "gettoken");
    let seen: Vec<_> = calls.map(|call| (call["api"].as_str().unwrap(), call["errcode"].as_i64())).collect();
    let expected: Vec<_> = expected.iter().map(|&(api, errcode)| (api, errcode.or(Some(0)))).collect();
    assert_eq!(seen, expected);

    let messages = sandbox.get("messages").await;
    let messages = messages["messages"].as_array().unwrap();
    let shown: Vec<_> = messages.iter().map(|message| (&message["to"], &message["msgtype"])).collect();
    assert_eq!(shown, [(&json!(["lisi"]), &json!("file")), (&json!(["zhangsan"]), &json!("text"))]);
    assert_eq!(messages[1]["content"], "现在 20:15，开会");
}

#[tokio::test]
async fn wechatpy_does_directory_media_and_messages_through_the_gateway() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let server = ledger.serve();
    let mut script = Script::start(&server, &ledger.app_key);
    check_directory(&script.result());
    script.go_on();
    check_messages(&script.result());

    let attempts = attempts(&ledger.entries(&server).await);
    check_calls(&sandbox, &attempts, &[&DIRECTORY[..], &MESSAGES].concat()).await;
    assert!(attempts.iter().all(|attempt| attempt.retry_of.is_none()));
    assert_eq!(sandbox.calls("gettoken").await, 1);
}

#[tokio::test]
async fn wechatpy_does_not_notice_that_its_token_ended_in_mid_run() {
    for errcode in [42001, 40014] {
        let sandbox = Sandbox::start();
        let ledger = Ledger::new(sandbox.url());
        let server = ledger.serve();
        let mut script = Script::start(&server, &ledger.app_key);
        check_directory(&script.result());
        sandbox.revoke(errcode).await;
        script.go_on();
        check_messages(&script.result());

        // The upload of 3 MiB is what met the dead token: it was sent a second time, as a whole.
        let met = [("media/upload", Some(errcode))];
        let attempts = attempts(&ledger.entries(&server).await);
        check_calls(&sandbox, &attempts, &[&DIRECTORY[..], &met, &MESSAGES].concat()).await;
        let [first, second] = &attempts[DIRECTORY.len()..][..2] else { unreachable!() };
        assert_eq!(second.retry_of, Some(first.seq));
        assert_ne!(second.credential, first.credential);
        assert_eq!(sandbox.calls("gettoken").await, 2);
    }
}
