//! A simulated WeCom.
