//! The rules of the house, checked: who may import whom, where SQL and the clock may stand, how large a file may be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says why")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may import of this crate; a file belongs to the most specific layer that fits its path.
/// An arrow in the drawing of ARCHITECTURE.md is a line here.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["app", "config", "datadir", "ledger", "quota", "sandbox", "store", "vault", "gateway", "http"]),
    (
        "app",
        &[
            "admission",
            "broker",
            "clock",
            "config",
            "datadir",
            "gateway",
            "http",
            "ledger",
            "quota",
            "sandbox",
            "store",
            "webhook",
            "vault",
            "wecom",
        ],
    ),
    ("config", &["wecom", "quota"]),
    ("datadir", &["clock", "ledger", "store", "vault"]),
    ("http", &["admission", "clock", "datadir", "gateway", "ledger", "quota", "store", "vault", "wecom"]),
    ("gateway", &["admission", "broker", "ledger", "quota", "vault", "wecom"]),
    ("webhook", &["clock", "ledger", "store", "wecom"]),
    ("admission", &["ledger", "quota"]),
    ("broker", &["ledger", "store", "vault", "wecom"]),
    ("ledger/committer", &["clock", "ledger", "quota", "store", "vault"]),
    // Pure: no store, no clock, no I/O.
    ("ledger", &["ledger", "quota", "wecom"]),
    ("quota", &["quota"]),
    ("store", &["ledger", "store"]),
    ("clock", &["ledger"]),
    ("vault", &["ledger"]),
    ("wecom", &["wecom"]),
    ("sandbox", &["sandbox", "wecom"]),
];

/// What pure code must not know of.
const IMPURE: &[&str] = &[
    "tokio",
    "sqlx",
    "actix_web",
    "reqwest",
    "std::time",
    "std::fs",
    "std::net",
    "SystemTime",
    "Instant::now",
    "getrandom",
];

/// What must not stand in a layer, by name.
const FORBIDDEN: &[(&str, &[&str])] =
    &[("quota", IMPURE), ("ledger/decide", IMPURE), ("ledger/apply", IMPURE), ("wecom/cost", IMPURE)];

fn sources() -> Vec<(String, PathBuf)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().with_extension("").display().to_string();
    found.into_iter().map(|path| (name(&path), path)).collect()
}

fn layer(name: &str) -> (&'static str, &'static [&'static str]) {
    let fits = |layer: &str| name == layer || name.starts_with(&format!("{layer}/"));
    *LAYERS.iter().filter(|(layer, _)| fits(layer)).max_by_key(|(layer, _)| layer.len()).unwrap_or_else(
        || panic!("src/{name}.rs belongs to no layer: add it to LAYERS and to ARCHITECTURE.md"),
    )
}

/// The crate's modules that a source imports or names, whatever the form: `crate::x`, `wecom_ledger::x`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        for prefix in ["crate::", "wecom_ledger::"] {
            for rest in line.split(prefix).skip(1) {
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(group) => group.split([',', '}']).collect(),
                    None => vec![rest],
                };
                for name in names {
                    let name: String =
                        name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if !name.is_empty() {
                        found.push(name);
                    }
                }
            }
        }
    }
    found
}

#[test]
fn imports_follow_the_layers() {
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        // Tests may put together what they need.
        if name.contains("tests") {
            continue;
        }
        let (own, allowed) = layer(&name);
        let top = own.split('/').next().unwrap();
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            if import != top && !allowed.contains(&import.as_str()) {
                wrong.push(format!("src/{name}.rs is in `{own}` and imports `{import}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_fold_does_not_know_the_committer() {
    for (name, path) in sources() {
        if layer(&name).0 == "ledger" && name != "ledger/mod" && !name.contains("test") {
            let text = fs::read_to_string(path).unwrap();
            assert!(!text.contains("committer"), "src/{name}.rs is pure and names the committer");
        }
    }
}

#[test]
fn sql_stands_in_the_store_alone() {
    for (name, path) in sources() {
        let text = fs::read_to_string(path).unwrap();
        let inside = layer(&name).0 == "store" || name.contains("test");
        assert!(inside || !text.contains("sqlx"), "src/{name}.rs uses sqlx");
    }
}

#[test]
fn pure_layers_touch_nothing_outside() {
    for (name, path) in sources() {
        let text = fs::read_to_string(path).unwrap();
        for (layer, words) in FORBIDDEN {
            let inside = name == *layer || name.starts_with(&format!("{layer}/"));
            for word in words.iter().filter(|_| inside && !name.contains("test") && !name.contains("model")) {
                assert!(!text.contains(word), "src/{name}.rs is pure and names `{word}`");
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for (name, path) in sources() {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 500, "src/{name}.rs has {lines} lines: would two rooms be clearer?");
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for (name, path) in sources() {
        let text = fs::read_to_string(path).unwrap();
        // A file of tests says it in the names of its tests.
        assert!(
            text.starts_with("//!") || name.contains("test"),
            "src/{name}.rs does not begin with a `//!` comment"
        );
    }
}
