//! Statistics that assume no distribution: medians, intervals by ranks, verdicts.
//!
//! Figures of a benchmark are skewed, few, and taken on machines that do other things as well. So
//! nothing here supposes a bell curve. The interval of a median lies between two order statistics,
//! and its coverage is a binomial sum: exact for every continuous distribution. The interval of a
//! difference between two runs is Hodges and Lehmann's, between two order statistics of all
//! pairwise differences, and its coverage comes from the exact distribution of Mann and Whitney's U.

use crate::metric::{Better, Scale};

/// The coverage that intervals aim at where there are values enough.
pub const WANTED_COVERAGE: f64 = 0.95;

/// The coverage that the interval between two runs aims at: it is asked for a hundred metrics at
/// once, and false alarms add up.
pub const WANTED_COVERAGE_BETWEEN_RUNS: f64 = 0.99;

/// The least coverage that a verdict may stand on: five rounds, where all five lie on one side.
pub const VERDICT_COVERAGE: f64 = 0.9;

/// The part of a figure, or the points of a share, that nobody notices.
pub const UNNOTICED: f64 = 0.01;

/// The most values a side whose U is counted exactly; beyond, the normal approximation is as good.
const EXACT_MAX: usize = 25;

/// A middle and the interval around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The median.
    pub middle: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// How often such an interval holds the true value, 0 to 1.
    pub coverage: f64,
    /// The values it was made from.
    pub count: usize,
}

impl Estimate {
    /// Whether both intervals leave no value in common.
    #[must_use]
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.high < other.low || other.high < self.low
    }
}

/// What an interval lets us say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of the interval is on the good side of equal.
    Better,
    /// All of the interval is on the bad side of equal.
    Worse,
    /// All of the interval is so near to equal that nobody would notice.
    Same,
    /// Equal lies inside, or the interval promises too little.
    CannotTell,
}

/// The value in the middle, or between the two in the middle; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    median_of_sorted(&sorted(values))
}

/// The median with the narrowest interval of ranks that covers [`WANTED_COVERAGE`], or with all of
/// the range where there are too few values for that. `None` of nothing.
#[must_use]
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let sorted = sorted(values);
    let (rank, coverage) = narrowest(sorted.len(), WANTED_COVERAGE, one_sample_coverage)?;
    between_ranks(&sorted, rank, coverage, sorted.len())
}

/// How `new` stands to `old` (ratio or difference), where the two were not taken side by side.
/// `None` where a side has no values, or where a ratio has no meaning.
#[must_use]
pub fn shift(old: &[f64], new: &[f64], scale: Scale) -> Option<Estimate> {
    let pairs = new.iter().flat_map(|new| old.iter().map(|old| relate(scale, *new, *old)));
    let relations: Option<Vec<f64>> = pairs.collect();
    let sorted = sorted(&relations?);
    let below = TailOfU::new(old.len(), new.len());
    let covers = |rank, _| 1.0 - 2.0 * below.probability_under(rank);
    let (rank, coverage) = narrowest(sorted.len(), WANTED_COVERAGE_BETWEEN_RUNS, covers)?;
    between_ranks(&sorted, rank, coverage, old.len().min(new.len()))
}

/// One figure against another, on a metric's scale. `None` for a ratio of what is not positive.
#[must_use]
pub fn relate(scale: Scale, value: f64, to: f64) -> Option<f64> {
    match scale {
        Scale::Ratio => (value > 0.0 && to > 0.0).then(|| value / to),
        Scale::Points => Some(value - to),
    }
}

/// What the interval of a ratio or difference lets us say.
#[must_use]
pub fn verdict(relation: &Estimate, scale: Scale, better: Better) -> Verdict {
    let equal = scale.neutral();
    if relation.coverage < VERDICT_COVERAGE {
        return Verdict::CannotTell;
    }
    if is_within(relation, scale, UNNOTICED) {
        return Verdict::Same;
    }
    if relation.low <= equal && equal <= relation.high {
        return Verdict::CannotTell;
    }
    match (better, relation.low > equal) {
        (Better::Higher, true) | (Better::Lower, false) => Verdict::Better,
        (Better::Higher, false) | (Better::Lower, true) => Verdict::Worse,
    }
}

/// Whether all of the interval lies within `part` of equal: of shares, within as many points.
#[must_use]
pub fn is_within(relation: &Estimate, scale: Scale, part: f64) -> bool {
    let (low, high) = match scale {
        // The same factor up and down: a twentieth is from 1 / 1.05 to 1.05.
        Scale::Ratio => (1.0 / (1.0 + part), 1.0 + part),
        Scale::Points => (-part, part),
    };
    low <= relation.low && relation.high <= high
}

/// Whether all of the interval lies farther from equal than `part`.
#[must_use]
pub fn is_beyond(relation: &Estimate, scale: Scale, part: f64) -> bool {
    match scale {
        Scale::Ratio => relation.high < 1.0 / (1.0 + part) || relation.low > 1.0 + part,
        Scale::Points => relation.high < -part || relation.low > part,
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The highest rank, counted from both ends, whose interval still covers what is wanted; rank 1
/// (all of the range) where none does.
fn narrowest(
    count: usize,
    wanted: f64,
    coverage: impl Fn(usize, usize) -> f64,
) -> Option<(usize, f64)> {
    let ranks = 1..=count.div_ceil(2);
    let enough =
        ranks.map(|rank| (rank, coverage(rank, count))).take_while(|(_, covers)| *covers >= wanted);
    let widest = (count > 0).then(|| (1, coverage(1, count).max(0.0)));
    enough.last().or(widest)
}

fn between_ranks(sorted: &[f64], rank: usize, coverage: f64, count: usize) -> Option<Estimate> {
    let middle = median_of_sorted(sorted)?;
    let low = *sorted.get(rank.checked_sub(1)?)?;
    let high = *sorted.get(sorted.len().checked_sub(rank)?)?;
    Some(Estimate { middle, low, high, coverage, count })
}

/// How often the median lies between the values of this rank from both ends: it does not where
/// fewer than `rank` of `count` fair coins show heads, or fewer than `rank` show tails.
fn one_sample_coverage(rank: usize, count: usize) -> f64 {
    let mut log2_ways = 0.0;
    let mut under = 0.0;
    for heads in 0..rank {
        under += (log2_ways - as_f64(count)).exp2();
        log2_ways += (as_f64(count - heads) / as_f64(heads + 1)).log2();
    }
    1.0 - 2.0 * under
}

/// The lower tail of Mann and Whitney's U for two sizes.
enum TailOfU {
    /// The probability of each value of U.
    Exact(Vec<f64>),
    Normal {
        mean: f64,
        deviation: f64,
    },
}

impl TailOfU {
    fn new(old: usize, new: usize) -> Self {
        if old.max(new) <= EXACT_MAX {
            return Self::Exact(distribution_of_u(old, new));
        }
        let (pairs, all) = (as_f64(old * new), as_f64(old + new));
        Self::Normal { mean: pairs / 2.0, deviation: (pairs * (all + 1.0) / 12.0).sqrt() }
    }

    /// The probability that U is below `rank`.
    fn probability_under(&self, rank: usize) -> f64 {
        match self {
            Self::Exact(each) => each.iter().take(rank).sum(),
            Self::Normal { mean, deviation } => {
                normal_tail((mean - as_f64(rank) + 0.5) / deviation)
            }
        }
    }
}

/// How probable each U is if both sides are alike: the coefficients of the Gaussian binomial, made
/// factor by factor. All of them are whole numbers under 2^53 up to [`EXACT_MAX`].
fn distribution_of_u(old: usize, new: usize) -> Vec<f64> {
    let mut ways = vec![0.0; old * new + 1];
    if let Some(first) = ways.first_mut() {
        *first = 1.0;
    }
    for factor in 1..=old {
        for u in (new + factor..ways.len()).rev() {
            ways[u] -= ways[u - new - factor];
        }
        for u in factor..ways.len() {
            ways[u] += ways[u - factor];
        }
    }
    let all: f64 = ways.iter().sum();
    ways.into_iter().map(|way| way / all).collect()
}

/// The probability of a normal value beyond `deviations` from its mean, to seven digits
/// (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17).
fn normal_tail(deviations: f64) -> f64 {
    if deviations < 0.0 {
        return 1.0 - normal_tail(-deviations);
    }
    const TERMS: [f64; 5] =
        [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let density = (-deviations * deviations / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let t = 1.0 / (1.0 + 0.231_641_9 * deviations);
    density * TERMS.iter().rev().fold(0.0, |sum, term| (sum + term) * t)
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples lie far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
