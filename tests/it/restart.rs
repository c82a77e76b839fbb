//! What outlives a process, and what ends on time.

use serde_json::Value;

use crate::support::{AGENT, CORP, Ledger, Sandbox, Server, binary};

async fn user_with(server: &Server, token: &str) -> Value {
    let url = format!("{}/cgi-bin/user/get?access_token={token}&userid=zhangsan", server.url());
    server.http.get(url).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn gateway_tokens_survive_restarts_and_nothing_is_fetched_again() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let mut server = ledger.serve();
    let token = server.token().await;
    for gently in [true, false, true] {
        assert_eq!(user_with(&server, &token).await["errcode"], 0);
        if gently {
            assert!(server.process.terminate().success());
        } else {
            server.process.kill();
        }
        server = ledger.serve();
        assert_eq!(user_with(&server, &token).await["errcode"], 0);
        server.token().await;
    }
    assert_eq!(sandbox.calls("gettoken").await, 1);
    assert_eq!(sandbox.calls("user/get").await, 6);
}

#[tokio::test]
async fn a_gateway_token_ends_with_its_key_which_the_command_line_revokes_beside_the_server() {
    let sandbox = Sandbox::start();
    let ledger = Ledger::new(sandbox.url());
    let app = format!("{CORP}/{AGENT}");
    let key = ledger.json(&["key", "create", "--name", "leaver", "--scope", "call", "--app", &app]);
    let server = ledger.serve();
    let answer = server.gettoken_as(key["api_key"].as_str().unwrap()).await;
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let stays = server.token().await;
    assert_eq!(user_with(&server, token).await["errcode"], 0);

    ledger.ok(&["key", "revoke", &key["id"].to_string()]);
    assert_eq!(user_with(&server, token).await["errcode"], 40014);
    assert_eq!(server.gettoken_as(key["api_key"].as_str().unwrap()).await["errcode"], 40001);
    assert_eq!(user_with(&server, &stays).await["errcode"], 0);
    // Also for a process that starts later.
    let later = ledger.serve();
    assert_eq!(user_with(&later, token).await["errcode"], 40014);
    assert_eq!(user_with(&later, &stays).await["errcode"], 0);
    assert_eq!(sandbox.calls("user/get").await, 3);
}

#[test]
fn serve_says_that_a_directory_was_not_initialised_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    std::fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    for data_dir in [dir.path(), &missing] {
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("init") && stderr.contains(&*data_dir.to_string_lossy()), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    assert!(!missing.exists(), "serve creates nothing");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let init = binary().args(["init", "--json", "--data-dir"]).arg(dir.path()).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    assert_eq!(std::fs::read_to_string(dir.path().join("notes.txt")).unwrap(), "not ours");
}

/// With a clock that the test moves.
#[cfg(feature = "test-clock")]
mod token_age {
    use serde_json::{Value, json};

    use super::user_with;
    use crate::support::{Ledger, Sandbox, Server, TestClock, until};

    struct World {
        clock: TestClock,
        sandbox: Sandbox,
        ledger: Ledger,
        server: Server,
        token: String,
    }

    /// A server that has fetched a token and used it.
    async fn world(settings: Value) -> World {
        let clock = TestClock::new();
        let sandbox = Sandbox::with(&[], Some(&clock));
        sandbox.post("settings", settings).await;
        let ledger = Ledger::new(sandbox.url());
        let server = ledger.serve_with(&[], Some(&clock));
        let token = server.token().await;
        assert_eq!(user_with(&server, &token).await["errcode"], 0);
        World { clock, sandbox, ledger, server, token }
    }

    impl World {
        async fn of_kind(&self, kind: &str) -> Vec<Value> {
            let entries = self.ledger.entries(&self.server).await;
            entries.into_iter().filter(|entry| entry["kind"] == kind).collect()
        }

        /// What the calls of an API answered to us, at WeCom.
        async fn told(&self, api: &str) -> Vec<i64> {
            let requests = self.sandbox.requests().await;
            let of_api = requests.iter().filter(|request| request["api"] == api);
            of_api.map(|request| request["errcode"].as_i64().unwrap()).collect()
        }
    }

    fn number(entry: &Value, name: &str) -> i64 {
        entry[name].as_i64().unwrap_or_else(|| panic!("no {name}: {entry}"))
    }

    #[tokio::test]
    async fn a_token_is_refreshed_at_7000_seconds_and_the_old_one_is_served_meanwhile() {
        let world = world(json!({"same_token_on_refetch": false})).await;
        let World { clock, sandbox, server, token, .. } = &world;
        clock.advance_ms(6_900_000);
        assert_eq!(user_with(server, token).await["errcode"], 0);
        sandbox.fault(json!({"path": "gettoken", "kind": "delay", "delay_ms": 3000, "times": 1})).await;
        clock.advance_ms(100_000);
        until("the token is refreshed", async || sandbox.calls("gettoken").await == 2).await;
        assert_eq!(user_with(server, token).await["errcode"], 0);
        until("the refresh ends", async || world.of_kind("credential.posted").await.len() == 2).await;
        assert_eq!(user_with(server, token).await["errcode"], 0);

        let fetches = world.of_kind("credential.pending").await;
        let tokens = world.of_kind("credential.posted").await;
        let calls = world.of_kind("call.pending").await;
        let age = number(&fetches[1], "tick") - number(&fetches[0], "tick");
        assert!((6_940_000..=7_010_000).contains(&age), "{age} ms");
        let carried: Vec<i64> = calls.iter().map(|call| number(call, "credential_seq")).collect();
        let [old, new] = [&tokens[0], &tokens[1]].map(|token| number(token, "seq"));
        assert_eq!(carried, [old, old, old, new]);
        assert!(number(&calls[2], "seq") > number(&fetches[1], "seq"), "while the new one was being fetched");
        assert_eq!(world.told("user/get").await, [0, 0, 0, 0]);
        assert_eq!(sandbox.calls("gettoken").await, 2);
    }

    #[tokio::test]
    async fn the_same_token_again_keeps_its_earlier_deadline() {
        let world = world(json!({"same_token_on_refetch": true, "refetch_lifetime": "full"})).await;
        let World { clock, sandbox, server, token, .. } = &world;
        clock.advance_ms(7_000_000);
        until("the token is refreshed", async || world.of_kind("credential.posted").await.len() == 2).await;
        let posted = world.of_kind("credential.posted").await;
        let of = |entry: &Value| entry.get("token").unwrap_or(entry).clone();
        assert_eq!(of(&posted[1])["same"], true, "{}", posted[1]);
        assert_eq!(of(&posted[1])["expires_tick"], of(&posted[0])["expires_tick"]);
        // WeCom claimed another two hours. It ends on time all the same, and nobody has to be told so.
        assert_eq!(user_with(server, token).await["errcode"], 0);
        clock.advance_ms(200_000);
        let later = server.token().await;
        assert_eq!(user_with(server, &later).await["errcode"], 0);
        assert_eq!(world.told("user/get").await, [0, 0, 0]);
        let posted = world.of_kind("credential.posted").await;
        assert_eq!(of(posted.last().unwrap())["same"], false);
        assert_eq!(sandbox.calls("gettoken").await, posted.len());
    }
}
