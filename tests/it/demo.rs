//! The demo, as somebody sees it who has just built the program.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{binary, free_port};

/// What the demo shows, by the word that each line begins with after the entry's number.
const SHOWN: [&str; 8] = ["token", "call", "message", "learned", "alert", "refused", "forecast", "incident"];

fn shows(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.get(9..).is_some_and(|rest| rest.starts_with(&format!("{what} "))))
}

#[test]
fn the_demo_shows_both_halves_of_the_product_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = binary();
    command.args(["demo", "--listen", &format!("127.0.0.1:{}", free_port()), "--duration", "120"]);
    let mut demo = command.env("TMPDIR", temporary.path()).stdout(Stdio::piped()).spawn().unwrap();
    let (out, told) = mpsc::channel();
    let pipe = BufReader::new(demo.stdout.take().unwrap());
    let reader =
        std::thread::spawn(move || pipe.lines().map_while(Result::ok).try_for_each(|it| out.send(it)));
    let (begun, mut lines) = (Instant::now(), Vec::new());
    let complete = |lines: &[String]| {
        let healed = lines.iter().any(|line| line.contains("reserved 12 person-times"));
        healed && SHOWN.iter().all(|what| shows(lines, what))
    };
    while !complete(&lines) {
        let left = Duration::from_secs(90).saturating_sub(begun.elapsed());
        let Ok(line) = told.recv_timeout(left) else {
            let _ = demo.kill();
            panic!("something is missing:\n{}", lines.join("\n"));
        };
        lines.push(line);
    }
    // SAFETY: the process is a child of this one and not yet waited for.
    unsafe { libc::kill(demo.id().cast_signed(), libc::SIGTERM) };
    assert!(demo.wait().unwrap().success());
    lines.extend(told);
    let _ = reader.join();
    let text = lines.join("\n");
    assert!(!text.contains('\u{1b}'), "no colours where nobody sees them");
    let wide: Vec<_> = lines.iter().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    // Across the ends of lines.
    let words: Vec<_> = text.split_whitespace().collect();
    let words = words.join(" ");
    for told in [
        "reserved 2 person-times, settled 1; 1 unreachable",
        "reserved 500 person-times, settled 500; whom it reaches is not known yet",
        "reserved 12 person-times, settled 12",
        "(corp-api-minute): 45009 without asking WeCom; the first free moment is",
        "either somebody calls WeCom past this service",
        "Spent through us in 60s: demo 1000002",
        "a minute; full in",
        ", 1 incident.",
        "Nothing is left behind",
    ] {
        assert!(words.contains(told), "{told}:\n{text}");
    }
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
