//! Whether two runs rank the subjects alike.

use serde::Serialize;

use crate::{
    metric::{Better, METRICS},
    report::figures::{Cell, Figures, Trust},
};

/// The rounds that an interval needs before it ranks anything.
const ROUNDS_MIN: usize = 3;

/// How two runs rank pairs of subjects.
#[derive(Debug, Default, Serialize)]
pub struct Rankings {
    /// Pairs that both runs rank, in the same order.
    pub agreeing: usize,
    /// Pairs that only one of the runs can rank.
    pub told_by_one: usize,
    /// Pairs that no run can rank.
    pub told_by_none: usize,
    /// Pairs that the two rank in opposite orders.
    pub contradictions: Vec<Contradiction>,
}

/// A pair that two runs rank in opposite orders, each with intervals that do not overlap.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Contradiction {
    /// The metric's id.
    pub metric: &'static str,
    /// The better one in the old run.
    pub fallen: String,
    /// The better one in the new run.
    pub risen: String,
}

impl Rankings {
    pub(super) fn of(old: &Figures<'_>, new: &Figures<'_>) -> Self {
        let mut rankings = Self::default();
        for metric in METRICS {
            let row = old.row(metric);
            for (index, first) in row.iter().enumerate() {
                for second in row.iter().skip(index + 1) {
                    rankings.count(new, first, second);
                }
            }
        }
        rankings
    }

    fn count(&mut self, new: &Figures<'_>, first: &Cell<'_>, second: &Cell<'_>) {
        let metric = first.metric.id;
        let after = new.cell(first.subject, metric).zip(new.cell(second.subject, metric));
        let Some((first_after, second_after)) = after else { return };
        let all = [first, second, first_after, second_after];
        if all.iter().any(|cell| cell.figure.is_none()) {
            return;
        }
        match (leads(first, second), leads(first_after, second_after)) {
            (None, None) => self.told_by_none += 1,
            (Some(_), None) | (None, Some(_)) => self.told_by_one += 1,
            (Some(before), Some(now)) if before == now => self.agreeing += 1,
            (Some(first_led), Some(_)) => {
                let (first, second) = (first.subject.to_owned(), second.subject.to_owned());
                let (fallen, risen) = if first_led { (first, second) } else { (second, first) };
                self.contradictions.push(Contradiction { metric, fallen, risen });
            }
        }
    }
}

/// Whether the first figure is the better one; `None` where the intervals overlap, or where one of
/// them means little.
fn leads(first: &Cell<'_>, second: &Cell<'_>) -> Option<bool> {
    let usable = |cell: &Cell<'_>| {
        let figure = cell.figure.filter(|_| cell.trust != Trust::Nothing);
        figure.filter(|figure| figure.count >= ROUNDS_MIN)
    };
    let metric = first.metric;
    let (first, second) = (usable(first)?, usable(second)?);
    let leads = match metric.better {
        Better::Higher => first.middle > second.middle,
        Better::Lower => first.middle < second.middle,
    };
    first.is_apart_from(&second).then_some(leads)
}
