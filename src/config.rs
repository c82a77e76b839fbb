//! Settings: `wecom-ledger.toml` in the data directory < environment < flags. The documented sample is the defaults.
