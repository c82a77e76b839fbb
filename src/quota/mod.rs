//! Limits, windows, profiles and cost: pure, without I/O and without a clock.
