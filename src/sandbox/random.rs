//! Randomness that a seed makes repeatable.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// SHA-256 over a seed and a counter: unpredictable with the system's seed, repeatable with a given one.
#[derive(Debug)]
pub(super) struct Random {
    seed: [u8; 32],
    counter: u64,
}

impl Random {
    pub(super) fn new(seed: Option<u64>) -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        match seed {
            Some(seed) => bytes[..8].copy_from_slice(&seed.to_le_bytes()),
            None => getrandom::fill(&mut bytes)?,
        }
        Ok(Self { seed: bytes, counter: 0 })
    }

    fn block(&mut self) -> [u8; 32] {
        self.counter += 1;
        Sha256::new_with_prefix(self.seed).chain_update(self.counter.to_le_bytes()).finalize().into()
    }

    /// Text of URL-safe characters, as many as 32-byte blocks give.
    pub(super) fn text(&mut self, blocks: usize) -> String {
        let bytes: Vec<u8> = (0..blocks).flat_map(|_| self.block()).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `characters` hexadecimal ones, at most 64.
    pub(super) fn hex(&mut self, characters: usize) -> String {
        let mut text = hex(&self.block());
        text.truncate(characters);
        text
    }

    /// A number to start a series of its own with.
    pub(super) fn seed(&mut self) -> u32 {
        let block = self.block();
        u32::from_le_bytes([block[0], block[1], block[2], block[3]])
    }

    /// True with the given probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        if probability >= 1.0 {
            return true;
        }
        let draw = self.seed();
        f64::from(draw) / (f64::from(u32::MAX) + 1.0) < probability
    }
}

/// The `n`-th number, from 0 to `max`, of the series that `seed` alone decides.
pub(super) fn nth(seed: u32, n: u64, max: u64) -> u64 {
    let block: [u8; 32] =
        Sha256::new_with_prefix(seed.to_le_bytes()).chain_update(n.to_le_bytes()).finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&block[..8]);
    u64::from_le_bytes(first) % max.saturating_add(1)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
