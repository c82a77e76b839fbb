//! Uploaded files, which live three days and belong to a company.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

const LIFETIME_MS: i64 = 3 * 86_400_000;
const MAX_BYTES: usize = 512 << 20;
const MAX_FILES: usize = 100_000;

#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub corp: usize,
    pub at: i64,
    pub filename: String,
    pub content_type: String,
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Media {
    by_id: HashMap<String, Upload>,
    oldest_first: VecDeque<String>,
    bytes: usize,
}

impl Media {
    pub(super) fn put(&mut self, id: String, upload: Upload) {
        self.bytes += upload.bytes.len();
        self.oldest_first.push_back(id.clone());
        self.by_id.insert(id, upload);
        while (self.bytes > MAX_BYTES || self.oldest_first.len() > MAX_FILES)
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.bytes -= self.by_id.remove(&oldest).map_or(0, |upload| upload.bytes.len());
        }
    }

    pub(super) fn get(&self, corp: usize, id: &str, now: i64) -> Option<&Upload> {
        self.by_id.get(id).filter(|upload| upload.corp == corp && now < upload.at + LIFETIME_MS)
    }
}
