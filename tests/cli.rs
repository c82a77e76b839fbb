//! The command line as scripts see it: the real binary, its output, its exit codes.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const CORP: &str = "ww1234567890abcdef";
const APP: &str = "ww1234567890abcdef/1000002";
const SECRET: &str = "this-is-a-secret-of-wecom";

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wecom-ledger"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WECOM_LEDGER_")) {
        command.env_remove(name);
    }
    command.args(args).arg("--data-dir").arg(dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// The standard output of a command that works.
fn text(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&text(dir, &[args, &["--json"]].concat())).unwrap()
}

/// The exit code and the message of a command that does not work; its standard output is empty.
fn failure(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = run(dir, args);
    assert!(output.stdout.is_empty(), "{args:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A command with something on its standard input.
fn with_input(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = command(dir, args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn initialised() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), &["init"]);
    dir
}

/// With a corp and an app.
fn furnished() -> tempfile::TempDir {
    let dir = initialised();
    text(dir.path(), &["corp", "add", CORP, "--accounts", "200"]);
    let added = with_input(dir.path(), &["app", "add", APP, "--secret-file", "-"], &format!("{SECRET}\n"));
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    dir
}

#[test]
fn init_prints_the_first_api_key_once_and_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let answer = text(dir.path(), &["init", "--json"]);
    let value: Value = serde_json::from_str(&answer).unwrap();
    let (id, api_key) = (value["id"].as_u64().unwrap(), value["api_key"].as_str().unwrap());
    assert_eq!(answer, format!("{{\"id\":{id},\"api_key\":\"{api_key}\"}}\n"));
    let (code, message) = failure(dir.path(), &["init"]);
    assert_eq!(code, 1);
    assert!(message.starts_with("error: ") && message.contains("initialised already"), "{message}");
    assert!(!text(dir.path(), &["key", "list"]).contains(api_key));
}

#[test]
fn every_command_on_a_directory_that_was_not_initialised_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["corp", "list"][..], &["usage"], &["key", "create", "--name", "n", "--scope", "call"]] {
        let (code, message) = failure(dir.path(), args);
        assert_eq!(code, 1);
        assert!(message.contains("is not initialised; run: wecom-ledger init --data-dir "), "{message}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn corps_and_apps_are_added_listed_changed_and_removed() {
    let dir = furnished();
    let dir = dir.path();
    let corps = json!({"corps": [{"corp_id": CORP, "account_cap": 200, "apps": 1}]});
    assert_eq!(json(dir, &["corp", "list"]), corps);
    assert_eq!(json(dir, &["corp", "add", CORP, "--accounts", "200"])["changed"], false);
    assert_eq!(json(dir, &["corp", "add", CORP, "--accounts", "300"])["changed"], true);
    let listed = json(dir, &["app", "list"]);
    assert_eq!((&listed["apps"][0]["app"], &listed["apps"][0]["status"]), (&json!(APP), &json!("ready")));
    assert_eq!(json(dir, &["app", "reset", APP])["changed"], true);
    assert!(failure(dir, &["corp", "remove", CORP]).1.contains("remove its apps first"));
    text(dir, &["app", "remove", APP]);
    text(dir, &["corp", "remove", CORP]);
    assert_eq!(json(dir, &["corp", "list"]), json!({"corps": []}));
}

#[test]
fn a_secret_never_shows() {
    let dir = furnished();
    for args in [&["app", "list"][..], &["app", "list", "--json"], &["config"]] {
        assert!(!text(dir.path(), args).contains(SECRET));
    }
    for file in std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        let bytes = if file.is_file() { std::fs::read(&file).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "{}", file.display());
    }
}

#[test]
fn a_secret_file_that_everybody_can_read_is_warned_about() {
    let dir = furnished();
    let file = dir.path().join("secret");
    std::fs::write(&file, "another-secret\n").unwrap();
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = run(dir.path(), &["app", "add", APP, "--secret-file", file.to_str().unwrap()]);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"), warned);
    }
}

#[test]
fn keys_are_created_paused_resumed_and_revoked() {
    let dir = furnished();
    let dir = dir.path();
    let created = json(dir, &["key", "create", "--name", "报警", "--scope", "call,report", "--app", APP]);
    assert!(created["api_key"].as_str().unwrap().starts_with("wlk_"));
    let number = created["id"].as_u64().unwrap();
    let id = number.to_string();
    let listed = |member: &str| {
        let keys = json(dir, &["key", "list"]);
        let keys = keys["api_keys"].as_array().unwrap().clone();
        keys.iter().find(|key| key["id"] == number).unwrap()[member].as_str().unwrap().to_owned()
    };
    assert_eq!((listed("status"), listed("priority")), ("active".to_owned(), "normal".to_owned()));
    assert_eq!(json(dir, &["key", "set", &id, "--priority", "batch"])["changed"], true);
    assert_eq!(json(dir, &["key", "set", &id, "--priority", "batch"])["changed"], false);
    assert_eq!(listed("priority"), "batch");
    for (act, expected) in [("pause", "paused"), ("resume", "active"), ("revoke", "revoked")] {
        text(dir, &["key", act, &id]);
        assert_eq!(listed("status"), expected);
    }
    assert_eq!(failure(dir, &["key", "resume", &id]).0, 1);
    assert_eq!(failure(dir, &["key", "set", &id, "--priority", "critical"]).0, 1);
    assert_eq!(failure(dir, &["key", "revoke", "99999"]).0, 1);
}

#[test]
fn a_key_gets_rules_of_its_own_and_they_are_taken_back() {
    let dir = furnished();
    let dir = dir.path();
    let create = ["key", "create", "--name", "batch", "--scope", "call", "--own", "corp-api-minute=200"];
    let created =
        json(dir, &[&create[..], &["--max-share", "corp-api-minute=20%,corp-api-hour=5%"]].concat());
    let id = created["id"].to_string();
    let own = || {
        let keys = json(dir, &["key", "list"]);
        let keys = keys["api_keys"].as_array().unwrap().clone();
        keys.iter().find(|key| key["id"] == created["id"]).unwrap()["own"].clone()
    };
    let rule = |limit: &str, cap: Value, share: Value| json!({"limit": limit, "cap": cap, "max_share_percent": share});
    let hour = || rule("corp-api-hour", json!(null), json!(5));
    assert_eq!(own(), json!([hour(), rule("corp-api-minute", json!(200), json!(20))]));
    assert!(text(dir, &["key", "list"]).contains("corp-api-hour=5% corp-api-minute=200,20%"));
    let said =
        text(dir, &["key", "set", &id, "--own", "corp-api-minute=", "--max-share", "corp-api-minute=30"]);
    assert!(
        said.contains("has no cap of its own in corp-api-minute, may use 30 % of corp-api-minute"),
        "{said}"
    );
    assert_eq!(own(), json!([hour(), rule("corp-api-minute", json!(null), json!(30))]));
    assert_eq!(json(dir, &["key", "set", &id, "--max-share", "corp-api-minute=30%"])["changed"], false);
    text(dir, &["key", "set", &id, "--max-share", "corp-api-minute=,corp-api-hour="]);
    assert_eq!(own(), json!([]));
    let (code, message) = failure(dir, &["key", "set", &id, "--own", "corp-api-minut=1"]);
    assert!(code == 2 && message.contains("use one of: corp-api-minute, corp-api-hour"), "{code} {message}");
    for (wrong, expected) in [
        ("--own=corp-api-minute=0", "1 to 4294967295"),
        ("--own=corp-api-minute", "write it LIMIT=CAP"),
        ("--own=corp-api-minute=many", "write it LIMIT=CAP"),
        ("--max-share=corp-api-minute=0%", "1 to 100 percent"),
        ("--max-share=corp-api-minute=101%", "1 to 100 percent"),
        ("--max-share=corp-api-minute=0.3", "write it LIMIT=PERCENT%, 1 to 100"),
    ] {
        let (code, message) = failure(dir, &["key", "set", &id, wrong]);
        assert!(code == 2 && message.contains(expected), "{wrong}: {code} {message}");
    }
    let (code, message) = failure(dir, &[&create[..6], &["--own", "corp-api-minute="]].concat());
    assert!(code == 2 && message.contains("no rule to take back"), "{code} {message}");
}

#[test]
fn what_was_not_learned_can_not_be_restored() {
    let dir = initialised();
    assert_eq!(json(dir.path(), &["limits", "list"])["learned"], json!([]));
    assert_eq!(json(dir.path(), &["limits", "restore", "--all"]), json!({"restored": []}));
    let (code, message) = failure(dir.path(), &["limits", "restore", "1"]);
    assert!(code == 1 && message.contains("`limits list` shows all"), "{code} {message}");
    assert_eq!(failure(dir.path(), &["limits", "restore"]).0, 2);
}

#[test]
fn the_list_of_limits_says_where_each_number_comes_from_what_is_kept_and_when_alerts_are_raised() {
    let dir = furnished();
    let dir = dir.path();
    let said = text(dir, &["limits", "list"]);
    assert!(said.contains("alerts are raised at 80, 90, 100 %"), "{said}");
    assert!(said.contains("nothing is kept for critical calls"), "{said}");
    let listed = json(dir, &["limits", "list"]);
    for limit in listed["limits"].as_array().unwrap() {
        let name = limit["limit"].as_str().unwrap();
        let row = said.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        let number = row.rsplit(' ').next().unwrap();
        let source = format!("\n{number} {}\n", limit["source"].as_str().unwrap());
        assert!(said.contains(&source), "{row}: {source}");
    }
    text(dir, &["limits", "alert-at", "none"]);
    text(dir, &["limits", "reserve", "*", "10"]);
    text(dir, &["limits", "reserve", "corp-api-minute", "20"]);
    let said = text(dir, &["limits", "list"]);
    assert!(said.contains("no alerts are raised"), "{said}");
    let kept =
        "kept for critical calls: 10 % of each limit without a number of its own, 20 % of corp-api-minute";
    assert!(said.contains(kept), "{said}");
}

#[test]
fn limits_are_listed_and_overridden() {
    let dir = furnished();
    let dir = dir.path();
    let listed = json(dir, &["limits", "list"]);
    assert_eq!(listed["profile"], "qyh-2015");
    assert_eq!((&listed["limits"][0]["cap"], &listed["limits"][0]["window"]), (&json!(1000), &json!("60s")));
    text(dir, &["limits", "set", CORP, "corp-api-minute", "10"]);
    let own = json!([{"corp_id": CORP, "limit": "corp-api-minute", "cap": 10}]);
    assert_eq!(json(dir, &["limits", "list"])["overrides"], own);
    text(dir, &["limits", "unset", CORP, "corp-api-minute"]);
    assert_eq!(json(dir, &["limits", "list"])["overrides"], json!([]));
    let said = text(dir, &["limits", "set", "*", "corp-api-minute", "20"]);
    assert!(said.contains("of every corp without a number of its own is 20"), "{said}");
    assert_eq!(json(dir, &["limits", "list"])["limits"][0]["cap"], 20);
    assert!(text(dir, &["limits", "list"]).contains("20 (profile: 1000)"));
    text(dir, &["limits", "use", "qyh-2015", "--provider"]);
    assert_eq!(json(dir, &["limits", "list"])["operator"], "provider");
    assert_eq!(json(dir, &["usage"]), json!({"usage": [], "truncated": false}));
}

#[test]
fn arguments_that_make_no_sense_end_with_2() {
    let dir = furnished();
    for args in [
        &["frobnicate"][..],
        &["key", "create", "--name", "n", "--scope", "calls"],
        &["key", "create", "--name", " ", "--scope", "call"],
        &["key", "create", "--name", "n", "--scope", "call", "--priority", "high"],
        &["key", "set", "9", "--priority", "high"],
        &["key", "set", "9"],
        &["corp", "add", "bad id", "--accounts", "1"],
        &["corp", "add", "c", "--accounts", "0"],
        &["limits", "use", "none"],
        &["limits", "set", CORP, "none", "1"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["serve", "--tls-cert", "cert.pem"],
        &["serve", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"],
        &["serve", "--upstream", "http://127.0.0.1:1/cgi-bin"],
        &["sandbox", "--listen", "0.0.0.0:0"],
        &["usage", "--corp", "nobody"],
        &["usage", "--limit", "none"],
    ] {
        let (code, message) = failure(dir.path(), args);
        assert_eq!(code, 2, "{args:?}: {message}");
        assert!(message.starts_with("error: "), "{message}");
    }
}

#[test]
fn a_settings_file_with_a_mistake_is_named_with_its_line() {
    let dir = initialised();
    std::fs::write(dir.path().join("wecom-ledger.toml"), "workers = 1\nlisen = \"x\"\n").unwrap();
    let (code, message) = failure(dir.path(), &["serve"]);
    assert_eq!(code, 2);
    assert!(message.contains("wecom-ledger.toml, line 2: unknown field `lisen`"), "{message}");
}

#[test]
fn the_sample_is_printed_and_the_settings_in_force_are_shown() {
    let dir = initialised();
    assert!(text(dir.path(), &["config"]).contains("\nlisten = \"127.0.0.1:8700\"\n"));
    let mut command = command(dir.path(), &["config", "--json"]);
    let output = command.env("WECOM_LEDGER_EGRESS_IP", "203.0.113.7").output().unwrap();
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&settings["egress_ip"], &settings["call"]["idle_timeout_secs"]),
        (&json!("203.0.113.7"), &json!(30))
    );
}

#[test]
fn the_sample_is_printed_also_beside_a_file_and_variables_with_mistakes() {
    let dir = initialised();
    std::fs::write(dir.path().join("wecom-ledger.toml"), "lisen = 1").unwrap();
    let printed = command(dir.path(), &["config"]).env("WECOM_LEDGER_LISEN", "x").output().unwrap();
    assert!(printed.status.success());
    let refused = command(dir.path(), &["corp", "list"]).env("WECOM_LEDGER_LISEN", "x").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("WECOM_LEDGER_LISEN"));
}

#[test]
fn a_key_that_could_not_be_printed_can_be_revoked() {
    let dir = initialised();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = command(dir.path(), &["key", "create", "--name", "n", "--scope", "report"]);
    let output = command.stdout(full).output().unwrap();
    let keys = json(dir.path(), &["key", "list"]);
    let expected = format!("could not print the key; revoke it: key revoke {}", keys["api_keys"][1]["id"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains(&expected), "{message}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = initialised();
    let mut child =
        command(dir.path(), &["config"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
