//! The SQLite store: atomic appends, conflicts, snapshots, the fair lock, and what people see with `sqlite3`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use sqlx::{Connection as _, SqliteConnection};

use crate::ledger::canonical::line;
use crate::ledger::directory::Directory;
use crate::ledger::{Kind, Row};
use crate::store::sqlite::{EntryFilter, Reader, Writer};
use crate::store::{Batch, LockFiles, Log as _};

use super::{config, row_tests};

fn rows(from: u64, count: u64) -> Vec<Row> {
    let mut runner = TestRunner::new(config(1));
    let entries = row_tests::entry();
    let entry = |seq| crate::ledger::Entry { seq, ..entries.new_tree(&mut runner).unwrap().current() };
    (from..from + count).map(entry).map(|entry| Row::of(&entry)).collect()
}

fn batch(rows: Vec<Row>) -> Batch {
    Batch { rows, ..Batch::default() }
}

async fn writer(dir: &Path) -> Writer {
    let mut writer = Writer::open(dir, *b"an owner").await.unwrap();
    writer.lock().unwrap();
    writer
}

async fn raw(dir: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", dir.join("ledger.db").display())).await.unwrap()
}

#[tokio::test]
async fn rows_and_their_lines_survive_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let written = rows(1, 700);
    writer.append(&batch(written.clone())).await.unwrap();
    let mut back = writer.rows_after(0, 300).await.unwrap();
    back.extend(writer.rows_after(300, 4096).await.unwrap());
    assert_eq!(back, written);
    let reader = Reader::open(dir.path()).await.unwrap();
    let directory = Directory::default();
    for row in reader.entries(0, 1_000, &EntryFilter::default()).await.unwrap().rows {
        let text = line(&row, &directory);
        assert_eq!(text, line(&written[row.seq as usize - 1], &directory));
        row_tests::check_line(&text, &row);
    }
}

#[tokio::test]
async fn a_conflict_leaves_nothing_of_a_large_batch_and_reopening_helps() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    writer.append(&batch(rows(1, 3))).await.unwrap();
    // The conflict is in the third statement.
    let mut large = rows(4, 600);
    large.last_mut().unwrap().seq = 2;
    let mut large = batch(large);
    large.sealed.push((4, vec![1, 2, 3]));
    assert!(writer.append(&large).await.is_err());
    assert!(writer.append(&batch(rows(4, 1))).await.is_err(), "not before it was reopened");
    writer.reopen().await.unwrap();
    assert_eq!(writer.rows_after(0, 4096).await.unwrap().len(), 3);
    let reader = Reader::open(dir.path()).await.unwrap();
    assert_eq!(reader.sealed_secret(4).await.unwrap(), None);
    assert!(writer.append(&batch(rows(3, 2))).await.is_err(), "the short way conflicts too");
    writer.reopen().await.unwrap();
    writer.append(&batch(rows(4, 600))).await.unwrap();
    assert_eq!(reader.head().await.unwrap(), 603);
}

#[tokio::test]
async fn secrets_come_and_go_with_their_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let mut first = batch(rows(1, 1));
    first.sealed.push((1, vec![7]));
    writer.append(&first).await.unwrap();
    let reader = Reader::open(dir.path()).await.unwrap();
    assert_eq!(reader.sealed_secret(1).await.unwrap(), Some(vec![7]));
    let mut second = batch(rows(2, 1));
    second.erase.push(1);
    writer.append(&second).await.unwrap();
    assert_eq!(reader.sealed_secret(1).await.unwrap(), None);
}

#[tokio::test]
async fn entries_can_be_neither_changed_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    writer(dir.path()).await.append(&batch(rows(1, 2))).await.unwrap();
    let mut raw = raw(dir.path()).await;
    for statement in
        ["update entry set errcode = 1 where seq = 1", "delete from entry", "delete from entry where seq = 2"]
    {
        let error = sqlx::query(statement).execute(&mut raw).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    // Replacing deletes without asking the triggers for deletes, and a gap would look like a removed entry.
    for statement in [
        "insert or replace into entry (seq, kind, tick, at) values (1, 1, 0, 0)",
        "insert into entry (seq, kind, tick, at) values (2, 1, 0, 0) on conflict do update set tick = 0",
        "insert into entry (seq, kind, tick, at) values (4, 1, 0, 0)",
    ] {
        let error = sqlx::query(statement).execute(&mut raw).await.unwrap_err().to_string();
        assert!(error.contains("one after the other"), "{error}");
    }
}

#[tokio::test]
async fn the_database_names_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path()).await);
    let mut raw = raw(dir.path()).await;
    let named: Vec<(i64, String)> =
        sqlx::query_as("select kind, name from entry_kind order by kind").fetch_all(&mut raw).await.unwrap();
    let known: Vec<(i64, String)> =
        Kind::ALL.iter().map(|&kind| (kind as i64, kind.name().to_owned())).collect();
    assert_eq!(named, known);
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_is_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    assert_eq!(writer.load_snapshot(), None);
    writer.save_snapshot(vec![5; 1000]);
    let file = dir.path().join("snapshot.bin");
    while !file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(writer.load_snapshot(), Some(vec![5; 1000]));
    let whole = std::fs::read(&file).unwrap();
    for at in [0, 7, 8, 39, 40, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(writer.load_snapshot(), None, "byte {at}");
    }
    for length in [0, 8, 39, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(writer.load_snapshot(), None, "length {length}");
    }
}

#[test]
fn a_busy_writer_never_starves_another() {
    const TURNS: u32 = 200;
    let dir = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    let (turns, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let busy = LockFiles::open(dir.path(), *b"the busy").unwrap();
            while !done.load(Ordering::SeqCst) {
                busy.lock().unwrap();
                // A turn is a commit: it takes its time.
                std::thread::sleep(std::time::Duration::from_millis(1));
                turns.fetch_add(1, Ordering::SeqCst);
                busy.unlock();
            }
        });
        let patient = LockFiles::open(dir.path(), *b"patient.").unwrap();
        for _ in 0..TURNS {
            // Only against a writer that is busy there is something to see.
            let seen = turns.load(Ordering::SeqCst);
            while turns.load(Ordering::SeqCst) < seen + 2 {
                std::thread::yield_now();
            }
            let before = turns.load(Ordering::SeqCst);
            patient.lock().unwrap();
            most.fetch_max(turns.load(Ordering::SeqCst) - before, Ordering::SeqCst);
            patient.unlock();
        }
        done.store(true, Ordering::SeqCst);
    });
    let most = most.into_inner();
    assert!(most <= 20, "{most} turns of the busy one went before");
}
