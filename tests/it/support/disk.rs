//! Disks that fail, and what lies on them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// How large a file the process may write from now on; `None` lifts it again.
pub fn limit_file_size(pid: u32, bytes: Option<u64>) {
    let pid = pid as libc::pid_t;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives longer than both calls.
    unsafe {
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_FSIZE, std::ptr::null(), &raw mut limit), 0);
        limit.rlim_cur = bytes.unwrap_or(limit.rlim_max);
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()), 0);
    }
}

/// libfiu: system calls of a process that fail when the test says so.
pub struct Fiu {
    dir: tempfile::TempDir,
}

impl Fiu {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn give_to(&self, command: &mut Command) {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/debian/usr/lib");
        let preload = ["fiu_run_preload.so", "fiu_posix_preload.so"].map(|name| lib.join("fiu").join(name));
        for path in &preload {
            assert!(path.exists(), "{} is missing; run tests/tools.sh", path.display());
        }
        command.env("LD_LIBRARY_PATH", &lib);
        command.env("LD_PRELOAD", preload.map(|path| path.display().to_string()).join(" "));
        command.env("FIU_CTRL_FIFO", self.dir.path().join("fiu"));
    }

    /// Sends a command such as `enable name=posix/io/sync/fsync`.
    pub fn tell(&self, pid: u32, command: &str) {
        let fifo = |end: &str| -> PathBuf { self.dir.path().join(format!("fiu-{pid}.{end}")) };
        std::fs::write(fifo("in"), format!("{command}\n")).unwrap();
        assert_eq!(std::fs::read_to_string(fifo("out")).unwrap().trim(), "0", "{command}");
    }
}

/// Asks a database, by another SQLite than ours.
pub fn sql(database: &Path, query: &str) -> Vec<Vec<Value>> {
    let script = "import json, sqlite3, sys\n\
                  print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))";
    let output = Command::new("python3").arg("-c").arg(script).arg(database).arg(query).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
