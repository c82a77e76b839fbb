//! What all limits that a call matches come to.

use super::eras::When;
use super::limit::Mode;
use super::look::Look;
use super::reading::Judgement;

/// What all looks come to.
#[derive(Default)]
pub(super) struct Verdict<'a> {
    binding: Option<Look<'a>>,
    refusing: Option<(Look<'a>, Option<i64>)>,
    /// By limit: for a limit per member, the one that refuses longest.
    shadowing: Vec<(usize, Look<'a>, Option<i64>)>,
    /// As `binding`, in shadow mode.
    tried: Option<Look<'a>>,
}

impl<'a> Verdict<'a> {
    #[inline]
    pub(super) fn add(&mut self, limit: usize, look: &Look<'a>, now: When<'_>) {
        let enforced = look.is_own() || look.active.limit.mode == Mode::Enforce;
        if look.passes() {
            let fullest = if enforced { &mut self.binding } else { &mut self.tried };
            if fullest.as_ref().is_none_or(|other| look.has_less_left_than(other)) {
                *fullest = Some(*look);
            }
        } else {
            self.refuse(limit, look, enforced, now);
        }
    }

    #[cold]
    fn refuse(&mut self, limit: usize, look: &Look<'a>, enforced: bool, now: When<'_>) {
        let retry_at = look.retry_at(now);
        if enforced {
            if self.refusing.is_none_or(|(_, other)| is_longer(retry_at, other)) {
                self.refusing = Some((*look, retry_at));
            }
            return;
        }
        match self.shadowing.iter_mut().find(|(known, ..)| *known == limit) {
            Some((_, _, other)) if !is_longer(retry_at, *other) => {}
            Some(longest) => *longest = (limit, *look, retry_at),
            None => self.shadowing.push((limit, *look, retry_at)),
        }
    }

    pub(super) fn judgement(self, now: When<'_>) -> Judgement {
        match self.refusing {
            Some((look, _)) => Judgement::Refused(look.refusal(now)),
            None => Judgement::Admitted {
                binding: self.binding.map(|look| look.reading_with_call(now)),
                shadowed: self.shadowing.iter().map(|(_, look, _)| look.refusal(now)).collect(),
                tried: self.tried.map(|look| look.reading_with_call(now)),
            },
        }
    }
}

/// Never again is longest of all.
fn is_longer(retry_at: Option<i64>, other: Option<i64>) -> bool {
    other.is_some_and(|other| retry_at.is_none_or(|retry_at| retry_at > other))
}
