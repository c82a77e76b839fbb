//! What the fold depends on besides the entries.

use sha2::{Digest as _, Sha256};

use crate::ledger::entry::hex_bytes;
use crate::ledger::state::FOLD_VERSION;
use crate::quota::{Operator, shipped, shipped_names};

/// The profiles that ship, and since which version of the fold they are as they are.
const PROFILES: (u32, &str) = (11, "da06e3af8cae41d6");

/// What every shipped profile counts is counted whichever is active, so a limit more or another window changes what old
/// entries fold to.
#[test]
fn a_change_of_the_shipped_profiles_raises_the_fold_version() {
    let mut digest = Sha256::new();
    for name in shipped_names() {
        for operator in [Operator::Corp, Operator::Provider] {
            let mut profile = shipped(name, operator).unwrap();
            for limit in &mut profile.limits {
                // Words count nothing.
                (limit.source, limit.note) = (String::new(), None);
            }
            digest.update(serde_json::to_vec(&profile).unwrap());
        }
    }
    let digest: [u8; 32] = digest.finalize().into();
    let (since, known) = PROFILES;
    let advice = "raise FOLD_VERSION, and write both here";
    assert_eq!(
        hex_bytes::encode(&digest[..8]),
        known,
        "the shipped profiles are others than before: {advice}"
    );
    assert!(FOLD_VERSION >= since, "{advice}");
}
