//! Locks between processes: a fair one for writing, and one for each process as its sign of life.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The write lock is a pair of lock files. Whoever wants to write takes `queue`, then `write`, then lets `queue` go:
/// a process that releases `write` and wants it again finds the next one already first in line.
pub struct LockFiles {
    queue: File,
    write: File,
    dir: PathBuf,
    /// Written into the lock file while we hold it: if it is still there next time, nobody else wrote since.
    owner: [u8; 8],
}

impl LockFiles {
    pub fn open(dir: &Path, owner: [u8; 8]) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self {
            queue: open(&dir.join("queue"))?,
            write: open(&dir.join("write"))?,
            dir: dir.to_owned(),
            owner,
        })
    }

    /// Blocks until it is our turn. Answers whether another owner has held the lock since we did.
    pub fn lock(&self) -> io::Result<bool> {
        flock(&self.queue, libc::LOCK_EX)?;
        let locked = flock(&self.write, libc::LOCK_EX);
        let unqueued = flock(&self.queue, libc::LOCK_UN);
        locked?;
        let owned = unqueued.and_then(|()| self.take_over());
        if owned.is_err() {
            self.unlock();
        }
        owned
    }

    fn take_over(&self) -> io::Result<bool> {
        let mut last = [0; 8];
        let read = self.write.read_at(&mut last, 0)?;
        let foreign = read != last.len() || last != self.owner;
        if foreign {
            self.write.write_all_at(&self.owner, 0)?;
        }
        Ok(foreign)
    }

    pub fn unlock(&self) {
        if let Err(error) = flock(&self.write, libc::LOCK_UN) {
            tracing::error!(%error, "the write lock could not be released");
        }
    }

    /// Whether nobody holds the lock of `instance` any more; removes what a dead process left.
    pub fn is_dead(&self, instance: &str) -> bool {
        let path = process_path(&self.dir, instance);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                let dead = flock(&file, libc::LOCK_EX | libc::LOCK_NB).is_ok();
                if dead {
                    let _ = std::fs::remove_file(&path);
                }
                dead
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Held as long as the process lives; the kernel lets it go when the process dies, however it dies.
pub struct ProcessLock {
    _file: File,
    path: PathBuf,
}

impl ProcessLock {
    pub fn acquire(dir: &Path, instance: &str) -> io::Result<Self> {
        let path = process_path(dir, instance);
        let file = open(&path)?;
        flock(&file, libc::LOCK_EX | libc::LOCK_NB)?;
        Ok(Self { _file: file, path })
    }
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Some work that only one process does at a time; free again when it dies or drops this.
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// None: another process has it.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn process_path(dir: &Path, instance: &str) -> PathBuf {
    dir.join(format!("process-{instance}"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor belongs to an open file that outlives the call.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_whether_somebody_else_wrote_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let first = LockFiles::open(dir.path(), *b"first...").unwrap();
        let second = LockFiles::open(dir.path(), *b"second..").unwrap();
        let turn = |lock: &LockFiles| {
            let foreign = lock.lock().unwrap();
            lock.unlock();
            foreign
        };
        assert!(turn(&first));
        assert!(!turn(&first));
        assert!(turn(&second));
        assert!(turn(&first));
    }

    #[test]
    fn a_process_is_dead_only_after_its_lock_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let files = LockFiles::open(dir.path(), *b"observer").unwrap();
        let lock = ProcessLock::acquire(dir.path(), "abc").unwrap();
        assert!(!files.is_dead("abc"));
        drop(lock);
        assert!(files.is_dead("abc"));
    }
}
