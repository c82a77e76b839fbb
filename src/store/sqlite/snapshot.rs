//! Snapshots of the folded state: a file beside the database, derivable and therefore replaceable.

use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

const FILE: &str = "snapshot.bin";
const MAGIC: &[u8; 8] = b"WLSNAP01";

/// What was saved last, if it is whole.
pub(super) fn load(data_dir: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(data_dir.join(FILE)).ok()?;
    let (digest, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    (Sha256::digest(body).as_slice() == digest).then(|| body.to_vec())
}

/// Replaces the snapshot; a failure only makes the next start slower.
pub(super) fn save(data_dir: &Path, body: &[u8]) {
    if let Err(error) = try_save(data_dir, body) {
        tracing::warn!(%error, "the snapshot could not be written; the next start will replay more entries");
    }
}

fn try_save(data_dir: &Path, body: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile_in(data_dir)?;
    file.1.write_all(MAGIC)?;
    file.1.write_all(&Sha256::digest(body))?;
    file.1.write_all(body)?;
    file.1.sync_all()?;
    std::fs::rename(&file.0, data_dir.join(FILE)).inspect_err(|_| {
        let _ = std::fs::remove_file(&file.0);
    })
}

fn tempfile_in(data_dir: &Path) -> std::io::Result<(std::path::PathBuf, std::fs::File)> {
    let path = data_dir.join(format!(".{FILE}.{}", std::process::id()));
    let file = std::fs::File::create(&path)?;
    Ok((path, file))
}
