//! Tokens in plain text, in memory only, wiped when they leave.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::SecretString;

use crate::ledger::Seq;

/// Tokens that are kept: the newest ones of as many apps as one process is likely to serve.
const TOKENS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct PlainTokens(RwLock<BTreeMap<Seq, Arc<SecretString>>>);

impl PlainTokens {
    pub(super) fn get(&self, credential: Seq) -> Option<Arc<SecretString>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&credential).map(Arc::clone)
    }

    pub(super) fn put(&self, credential: Seq, token: &Arc<SecretString>) {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(credential, Arc::clone(token));
        while tokens.len() > TOKENS_MAX {
            tokens.pop_first();
        }
    }
}
