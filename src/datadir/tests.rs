//! Creating a data directory, whatever was there before.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn works(dir: &Path, key: &NewApiKey) {
    let opened = open(dir, None).await.unwrap();
    let fingerprint = opened.vault.fingerprint(API_KEY, key.api_key.expose_secret());
    let directory = opened.ledger.directory();
    let (id, found) = directory.api_key(&fingerprint).unwrap();
    assert_eq!((id, found.name.as_str()), (key.id, "admin"));
    assert!(found.has(Scope::Admin) && !found.has(Scope::Reveal));
    assert_eq!(opened.ledger.ledger_id().len(), 32);
}

#[tokio::test]
async fn a_fresh_directory_gets_a_key_a_ledger_and_an_admin() {
    let parent = temp();
    let dir = parent.path().join("new/data");
    let key = init(&dir).await.unwrap();
    assert_eq!((mode(&dir), mode(&dir.join(KEY))), (0o700, 0o600));
    assert!(is_initialised(&dir).await.unwrap());
    works(&dir, &key).await;
}

#[tokio::test]
async fn the_key_of_another_ledger_opens_nothing() {
    let (dir, other) = (temp(), temp());
    init(dir.path()).await.unwrap();
    init(other.path()).await.unwrap();
    std::fs::copy(other.path().join(KEY), dir.path().join(KEY)).unwrap();
    let refused = open(dir.path(), None).await.err().unwrap();
    assert!(matches!(refused, DataDirError::ForeignKey(_)), "{refused}");
}

#[tokio::test]
async fn a_second_init_is_refused_and_changes_nothing() {
    let dir = temp();
    let key = init(dir.path()).await.unwrap();
    let before = std::fs::read(dir.path().join(KEY)).unwrap();
    let refused = init(dir.path()).await.err().unwrap();
    assert!(matches!(refused, DataDirError::Initialised(_)));
    assert_eq!(std::fs::read(dir.path().join(KEY)).unwrap(), before);
    works(dir.path(), &key).await;
}

#[tokio::test]
async fn other_files_in_the_directory_are_left_alone() {
    let dir = temp();
    std::fs::write(dir.path().join("lost+found.txt"), "mine").unwrap();
    let key = init(dir.path()).await.unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("lost+found.txt")).unwrap(), "mine");
    works(dir.path(), &key).await;
}

#[tokio::test]
async fn an_interrupted_init_is_taken_up_again() {
    // After the key file.
    let dir = temp();
    create_key(dir.path()).unwrap();
    let before = std::fs::read(dir.path().join(KEY)).unwrap();
    assert!(!is_initialised(dir.path()).await.unwrap());
    let key = init(dir.path()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join(KEY)).unwrap(), before);
    works(dir.path(), &key).await;

    // In the middle of writing the key file, and after creating an empty database.
    let dir = temp();
    std::fs::write(dir.path().join("master.key.new"), "0123").unwrap();
    std::fs::write(dir.path().join(DATABASE), "").unwrap();
    works(dir.path(), &init(dir.path()).await.unwrap()).await;

    // Between the ledger and its first API key.
    let dir = temp();
    let vault = Arc::new(create_key(dir.path()).unwrap());
    let ledger = start(dir.path(), &vault, Arc::new(system_clock().unwrap()), None).await.unwrap();
    let ledger_id = "0".repeat(32);
    let key_check = vault.fingerprint(KEY_CHECK, &ledger_id);
    let create = Command::CreateLedger { ledger_id, version: "0".to_owned(), key_check };
    ledger.decide(create).await.unwrap();
    ledger.stop().await;
    works(dir.path(), &init(dir.path()).await.unwrap()).await;
}

#[tokio::test]
async fn a_directory_that_was_not_initialised_says_what_to_do() {
    let dir = temp();
    let error = open(dir.path(), None).await.err().unwrap().to_string();
    assert!(error.contains("is not initialised; run: wecom-ledger init --data-dir "), "{error}");
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(open(&nowhere, None).await, Err(DataDirError::NotInitialised(_))));
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn a_ledger_without_its_key_is_never_given_a_new_one() {
    let dir = temp();
    init(dir.path()).await.unwrap();
    std::fs::remove_file(dir.path().join(KEY)).unwrap();
    assert!(matches!(init(dir.path()).await, Err(DataDirError::KeyMissing(_))));
    assert!(matches!(open(dir.path(), None).await, Err(DataDirError::KeyMissing(_))));
    assert!(!dir.path().join(KEY).exists());
}

#[tokio::test]
async fn a_foreign_file_named_like_the_database_is_not_touched() {
    let dir = temp();
    std::fs::write(dir.path().join(DATABASE), "this is the ledger of the bakery. ".repeat(50)).unwrap();
    assert!(init(dir.path()).await.is_err());
    assert!(std::fs::read_to_string(dir.path().join(DATABASE)).unwrap().starts_with("this is"));
}

#[tokio::test]
async fn a_serving_process_shows_a_sign_of_life_until_its_last_handle_is_gone() {
    let dir = temp();
    init(dir.path()).await.unwrap();
    let instance = new_instance().unwrap();
    let registration = Registration {
        instance: instance.clone(),
        egress_ip: "default".to_owned(),
        learn_caps_after: None,
        webhook: false,
    };
    let opened = open(dir.path(), Some(registration)).await.unwrap();
    let lock = dir.path().join(LOCKS).join(format!("process-{instance}"));
    let Opened { ledger, clock, .. } = opened;
    ledger.stop().await;
    assert!(lock.exists(), "somebody here may still be sending");
    drop((ledger, clock));
    assert!(!lock.exists());
}
