//! What WeCom says of a day that is to be compared.

use crate::ledger::delivered::Which;
use crate::ledger::entry::Seq;
use crate::quota::Day;

/// WeCom's own count of an app's messages.
#[derive(Debug, Clone)]
pub struct Reconcile {
    pub app: Seq,
    pub which: Which,
    /// The one that `which` meant when WeCom was asked.
    pub day: Day,
    /// Successful person-times, or why they could not be had.
    pub wecom: Result<u64, String>,
    /// The API key that asked for it.
    pub by: Option<Seq>,
    /// Somebody wants it now: also if that day was compared before.
    pub requested: bool,
}
