//! What WeCom counted of an app's messages on a day, next to what was counted here.

use serde::{Deserialize, Serialize};

use crate::quota::Day;

/// One day of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReconciled {
    /// In the zone of the profile that was in force.
    pub day: Day,
    #[serde(flatten)]
    pub outcome: Reconciled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reconciled {
    Compared(Compared),
    Failed(Failed),
}

/// Person-times that reached somebody. What WeCom can have counted, if nobody sends past this service, lies between
/// `at_least` and `at_most`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// What WeCom says.
    pub wecom: u64,
    /// What was posted here as delivered, groups with the size that was assumed.
    pub counted: u64,
    pub at_least: u64,
    /// None: the ledger did not count during the whole day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// `wecom` less `counted`.
    pub difference: i64,
    /// How far `wecom` lies outside of what can be: above zero, somebody sends past this service.
    pub unexplained: i64,
    /// The day was not over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub so_far: bool,
}

/// WeCom's count could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// In words, without anything secret.
    pub failed: String,
    /// How often it was tried for this day.
    pub tries: u32,
    /// It is not tried again before.
    pub again_tick: i64,
}

impl Compared {
    pub fn new(wecom: u64, counted: u64, at_least: u64, at_most: Option<u64>, so_far: bool) -> Self {
        let over = at_most.map_or(0, |at_most| wecom.saturating_sub(at_most));
        let under = at_least.saturating_sub(wecom);
        Self {
            wecom,
            counted,
            at_least,
            at_most,
            difference: less(wecom, counted),
            unexplained: less(over, under),
            so_far,
        }
    }

    /// For people who have never seen an entry.
    pub fn in_words(&self) -> String {
        let Self { wecom, counted, unexplained, .. } = self;
        let so_far = if self.so_far { " so far" } else { "" };
        let counts = format!("WeCom counted {wecom} person-times{so_far}, we counted {counted}");
        let by = unexplained.unsigned_abs();
        match *unexplained {
            1.. => format!(
                "{counts}: at least {by} were sent past this service; by whom? A program that has the app's secret \
                 or a token of its own, or a person in WeCom's admin console (管理后台)"
            ),
            ..=-1 => format!(
                "{counts}: at least {by} that WeCom accepted reached nobody; it drops silently what one member gets \
                 too much of, and repeated messages where the sender asked for that (enable_duplicate_check)"
            ),
            0 if self.difference == 0 => format!("{counts}: the same"),
            0 if self.at_most.is_none() => {
                format!("{counts}; this service did not count during the whole day")
            }
            0 if self.so_far && wecom < counted => format!("{counts}; WeCom may count the others later"),
            0 => format!(
                "{counts}; sizes of groups that were assumed, calls of unknown outcome or the turn of the day explain it"
            ),
        }
    }
}

fn less(a: u64, b: u64) -> i64 {
    let difference = i128::from(a) - i128::from(b);
    i64::try_from(difference).unwrap_or(if difference > 0 { i64::MAX } else { i64::MIN })
}

impl UsageReconciled {
    /// Whether somebody should hear of it.
    pub fn is_alarming(&self) -> bool {
        matches!(&self.outcome, Reconciled::Compared(it) if it.unexplained != 0)
    }

    pub fn in_words(&self) -> String {
        match &self.outcome {
            Reconciled::Compared(compared) => compared.in_words(),
            Reconciled::Failed(Failed { failed, .. }) => format!("WeCom's count could not be had: {failed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_explains_is_alarming() {
        let unexplained = |wecom, at_least, at_most| {
            let compared = Compared::new(wecom, 10, at_least, at_most, false);
            assert_eq!(compared.difference, i64::try_from(wecom).unwrap() - 10);
            let day = "2026-01-31".parse().unwrap();
            let reconciled = UsageReconciled { day, outcome: Reconciled::Compared(compared.clone()) };
            assert_eq!(reconciled.is_alarming(), compared.unexplained != 0);
            compared.unexplained
        };
        assert_eq!(unexplained(10, 10, Some(10)), 0);
        assert_eq!(unexplained(12, 10, Some(10)), 2);
        assert_eq!(unexplained(12, 10, Some(12)), 0);
        assert_eq!(unexplained(7, 10, Some(10)), -3);
        assert_eq!(unexplained(7, 5, Some(10)), 0);
        assert_eq!(unexplained(900, 5, None), 0, "who counted before is not known");
    }

    #[test]
    fn numbers_that_fit_nowhere_overflow_nothing() {
        let compared = Compared::new(u64::MAX, 0, 0, Some(0), false);
        assert_eq!((compared.difference, compared.unexplained), (i64::MAX, i64::MAX));
        let compared = Compared::new(0, u64::MAX, u64::MAX, Some(u64::MAX), false);
        assert_eq!((compared.difference, compared.unexplained), (i64::MIN, i64::MIN));
        assert!(compared.in_words().contains("reached nobody"));
    }
}
