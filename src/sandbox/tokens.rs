//! Access tokens: per app, with a lifetime, revocable, and never more than a bounded number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Tokens that are remembered, dead ones included, so that they answer 42001 and not 40014.
const MAX_TOKENS: usize = 100_000;

/// An app, by the places of its corp and of itself in the `World`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub corp: usize,
    pub app: usize,
}

/// The first bytes of a credential's SHA-256: enough to recognise it, too little to use it.
pub(super) type Fingerprint = [u8; 8];

pub(super) fn fingerprint(credential: &str) -> Fingerprint {
    let digest: [u8; 32] = Sha256::digest(credential).into();
    let mut short = Fingerprint::default();
    short.copy_from_slice(&digest[..8]);
    short
}

#[derive(Debug)]
pub(super) struct Token {
    pub who: Who,
    pub expires_at: i64,
    pub fingerprint: Fingerprint,
    /// Set when it was revoked: what it answers from then on.
    dead: Option<i32>,
}

/// All tokens ever issued, as far as they are remembered.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_value: HashMap<Arc<str>, Token>,
    oldest_first: VecDeque<Arc<str>>,
    newest: HashMap<Who, Arc<str>>,
}

impl Tokens {
    /// Whose token it is, or the errcode that it deserves.
    pub(super) fn verify(&self, value: &str, now: i64) -> Result<Who, i32> {
        let token = self.by_value.get(value).ok_or(40014)?;
        match token.dead {
            Some(errcode) => Err(errcode),
            None if now >= token.expires_at => Err(42001),
            None => Ok(token.who),
        }
    }

    pub(super) fn get(&self, value: &str) -> Option<&Token> {
        self.by_value.get(value)
    }

    /// The app's newest token, if it can still be used.
    pub(super) fn current(&self, who: Who, now: i64) -> Option<(Arc<str>, i64)> {
        let value = self.newest.get(&who)?;
        self.verify(value, now).ok()?;
        Some((value.clone(), self.by_value.get(value)?.expires_at))
    }

    /// Older tokens of the app stay valid until they expire: WeCom is not 公众号.
    pub(super) fn issue(&mut self, who: Who, value: String, expires_at: i64) -> Arc<str> {
        let value: Arc<str> = value.into();
        let token = Token { who, expires_at, fingerprint: fingerprint(&value), dead: None };
        self.by_value.insert(value.clone(), token);
        self.oldest_first.push_back(value.clone());
        self.newest.insert(who, value.clone());
        if self.oldest_first.len() > MAX_TOKENS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_value.remove(&oldest);
        }
        value
    }

    /// Kills every token of the app; answers how many were alive.
    pub(super) fn revoke(&mut self, who: Who, errcode: i32, now: i64) -> usize {
        let alive = |token: &&mut Token| token.who == who && token.dead.is_none() && now < token.expires_at;
        self.by_value.values_mut().filter(alive).map(|token| token.dead = Some(errcode)).count()
    }
}
