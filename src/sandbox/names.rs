//! Small numbers for the names that come again and again: APIs, methods, lists of query parameters.

use std::collections::HashMap;

/// Callers choose these names, so there is an end to how many are learned, and to how long they are.
const MAX_NAMES: usize = 8_192;
const MAX_LENGTH: usize = 512;

#[derive(Debug)]
pub(super) struct Names {
    ids: HashMap<Box<str>, u16>,
    names: Vec<Box<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { ids: HashMap::new(), names: vec!["(other)".into()] }
    }
}

impl Names {
    /// The number of a name; 0, "(other)", for those beyond the bound.
    pub(super) fn id(&mut self, name: &str) -> u16 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        if self.names.len() >= MAX_NAMES || name.len() > MAX_LENGTH {
            return 0;
        }
        let id = self.names.len() as u16;
        self.names.push(name.into());
        self.ids.insert(name.into(), id);
        id
    }

    pub(super) fn name(&self, id: u16) -> &str {
        self.names.get(usize::from(id)).map_or("(other)", AsRef::as_ref)
    }
}
