//! What the command line understands, and what it refuses.

use clap::{CommandFactory as _, Parser as _};

use super::args::{AppLabel, Command};
use super::*;
use crate::config::Windows;
use crate::ledger::entry::Scope;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("wecom-ledger").chain(line.split_whitespace()))
}

fn no_env(_: &str) -> Option<String> {
    None
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn what_people_script_against_is_understood() {
    for line in [
        "init --data-dir d --json",
        "--json --data-dir d init",
        "demo --listen 127.0.0.1:0 --duration 5 --data-dir d",
        "serve --listen 127.0.0.1:1 --upstream http://127.0.0.1:2 --egress-ip 1.2.3.4 --workers 2 --reuse-port",
        "serve --insecure-listen --tls-cert c --tls-key k --data-dir d",
        "sandbox --listen 127.0.0.1:0 --windows clock --same-token --corp c --accounts 5 --app 1=a 2=b --app 3=c",
        "sandbox --limits off --workers 1",
        "corp add c --accounts 5",
        "corp list --json",
        "corp remove c",
        "app add c/1 --secret-file -",
        "app list",
        "app reset c/1",
        "app remove c/1",
        "key create --name n --scope call,report --app c/1 --app c/2 --api message/send --api user/*",
        "key list",
        "key create --name n --scope call --own corp-api-minute=5 --max-share corp-api-hour=20%",
        "key set 5 --own corp-api-minute=5 --own corp-api-hour= --max-share corp-api-minute=20",
        "key set 5 --priority batch",
        "key revoke 5",
        "key pause 5",
        "key resume 5",
        "limits list",
        "limits use qyh-2015 --provider",
        "limits set c corp-api-minute 10",
        "limits unset c corp-api-minute",
        "limits restore 5",
        "limits restore --all",
        "usage --corp c --api message/send --json",
        "usage forecast --corp c --app c/1 --api message/send --limit messages-corp-day --json",
        "usage declare c/1 person_times 5 --api appchat/send",
        "config",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "",
        "corp",
        "corp add c",
        "corp add c --accounts many",
        "app add c --secret-file f",
        "app add c/1/2 --secret-file f",
        "app add c/1",
        "key create --name n",
        "key create --scope call",
        "key create --name n --scope calls",
        "key revoke all",
        "key set 5",
        "key set 5 --own corp-api-minute",
        "key set 5 --own =5",
        "limits restore",
        "limits restore --data-dir d",
        "penalty clear --data-dir d",
        "limits restore 5 --all",
        "limits set c l 4294967296",
        "sandbox --app 1",
        "sandbox --app one=secret",
        "sandbox --windows open",
        "serve --listen 8700",
        "demo --duration 0",
        "key create --name n --scope call --api /cgi-bin/message/send",
        "key create --name n --scope call --api cgi-bin/message/send",
        "key create --name n --scope call --api message/send,/message/*",
        "key create --name n --scope call --api me*/send",
        "key create --name n --scope call --api message/",
        "key create --name n --scope call --api *send",
        "frobnicate",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn flags_of_serve_reach_the_settings_and_only_where_given() {
    let Command::Serve(serve) = parse("serve --listen 127.0.0.1:1 --reuse-port").unwrap().command else {
        panic!()
    };
    let expected =
        Settings { listen: Some("127.0.0.1:1".to_owned()), reuse_port: Some(true), ..Settings::default() };
    assert_eq!(serve.settings(), expected);
}

#[test]
fn a_sandbox_that_is_told_nothing_has_the_corp_of_the_readme() {
    let Command::Sandbox(sandbox) = parse("sandbox").unwrap().command else { panic!() };
    let options = sandbox.options().unwrap();
    assert_eq!((options.listen.to_string().as_str(), options.windows), ("127.0.0.1:8701", Windows::Sliding));
    assert_eq!(
        (options.corp_id.as_str(), options.account_cap, options.limits),
        ("ww0123456789abcdef", 500, Some("qyh-2015"))
    );
    assert!(options.apps.is_empty(), "the sandbox brings its own three apps");
    assert!(!options.same_token && options.workers >= 1);
}

#[test]
fn a_demo_never_takes_its_directory_from_the_environment() {
    let Command::Demo(demo) = parse("demo").unwrap().command else { panic!() };
    assert_eq!(demo.options().data_dir, None);
    for line in ["demo --data-dir d", "--data-dir d demo"] {
        let Command::Demo(demo) = parse(line).unwrap().command else { panic!() };
        assert_eq!(demo.options().data_dir, Some("d".into()), "{line}");
    }
}

fn help(command: &str) -> String {
    parse(&format!("{command} --help")).unwrap_err().to_string()
}

#[test]
fn help_shows_the_defaults_of_the_service_and_none_that_a_command_does_not_use() {
    let defaults = Settings::load(Path::new("nowhere"), Settings::default(), &no_env).unwrap();
    for default in [defaults.listen, defaults.upstream] {
        assert!(help("serve").contains(&format!("[default: {}]", default.unwrap())));
    }
    for command in ["demo", "sandbox"] {
        let help = help(command);
        assert!(!help.contains("WECOM_LEDGER_DATA_DIR") && !help.contains("wecom-ledger-data"), "{help}");
    }
    assert!(help("sandbox").contains("/sandbox/requests"));
}

#[test]
fn scopes_and_apps_of_a_key_are_lists() {
    let line = "key create --name n --scope call,report --scope audit --app c/1,c/2 --app d/3";
    let Command::Key(Key::Create(key)) = parse(line).unwrap().command else { panic!() };
    assert_eq!(key.scopes, [Scope::Call, Scope::Report, Scope::Audit]);
    let label = |corp_id: &str, agent_id: &str| AppLabel {
        corp_id: corp_id.to_owned(),
        agent_id: agent_id.to_owned(),
    };
    assert_eq!(key.apps, [label("c", "1"), label("c", "2"), label("d", "3")]);
}

#[test]
fn commands_are_quieter_than_the_service_unless_told_otherwise() {
    assert_eq!(logging::without_file("warn", &no_env).unwrap().level, "warn");
    let env = |name: &str| (name == "WECOM_LEDGER_LOG").then(|| "debug".to_owned());
    assert_eq!(logging::without_file("warn", &env).unwrap().level, "debug");
}

#[test]
fn a_cause_that_an_error_shows_itself_is_not_repeated() {
    let cause = || std::io::Error::other("disk full");
    let shown = datadir::DataDirError::Io { path: "ledger.db".to_owned(), source: cause() };
    assert_eq!(Failure::from(shown).to_string(), "ledger.db: disk full");
    let hidden = anyhow::Error::from(cause()).context("the snapshot");
    assert_eq!(Failure::from(hidden).to_string(), "the snapshot: disk full");
}
