//! The broker: fetches each credential once, and knows its plain text.
