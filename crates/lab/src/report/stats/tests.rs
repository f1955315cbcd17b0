use super::*;

/// SplitMix64: a seed, and what follows from it.
struct Chance(u64);

impl Chance {
    fn seeded(standard: u64) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(standard);
        println!("SEED={seed}");
        Self(seed)
    }

    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Skewed as benchmarks are: median `middle`, about `spread` of it wide.
    fn round(&mut self, middle: f64, spread: f64) -> f64 {
        middle * (spread * self.normal()).exp()
    }

    fn rounds(&mut self, count: usize, middle: f64, spread: f64) -> Vec<f64> {
        (0..count).map(|_| self.round(middle, spread)).collect()
    }
}

const DRAWS: usize = 10_000;

fn share_of(mut happens: impl FnMut() -> bool) -> f64 {
    (0..DRAWS).filter(|_| happens()).count() as f64 / DRAWS as f64
}

/// Five standard errors of a share over [`DRAWS`].
fn slack(share: f64) -> f64 {
    5.0 * (share * (1.0 - share) / DRAWS as f64).sqrt()
}

#[test]
fn medians_lie_in_the_middle() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    assert_eq!(median(&[f64::NAN, 1.0, f64::INFINITY]), Some(1.0));
}

#[test]
fn intervals_have_the_ranks_and_coverages_of_the_books() {
    // Count, rank from both ends, coverage in percent: tables of the sign test.
    let rows = [
        (1, 1, 0.0),
        (2, 1, 50.0),
        (3, 1, 75.0),
        (5, 1, 93.75),
        (6, 1, 96.875),
        (7, 1, 98.4375),
        (8, 1, 99.21875),
        (9, 2, 96.09375),
        (15, 4, 96.484_375),
        (20, 6, 95.861),
        (100, 40, 96.48),
    ];
    for (count, rank, percent) in rows {
        let values: Vec<f64> = (1..=count).map(f64::from).collect();
        let estimate = estimate(&values).unwrap();
        assert_eq!(estimate.low, f64::from(rank), "rank of {count}");
        assert_eq!(estimate.high, f64::from(count + 1 - rank), "upper rank of {count}");
        assert!((estimate.coverage * 100.0 - percent).abs() < 0.01, "{count}: {estimate:?}");
    }
    assert_eq!(estimate(&[]), None);
}

#[test]
fn the_distribution_of_u_is_that_of_the_tables() {
    // Three and three: 20 orders, of which 1, 1, 2, 3, 3, 3, 3, 2, 1, 1 have U = 0, …, 9.
    let each: Vec<f64> = distribution_of_u(3, 3).iter().map(|p| (p * 20.0).round()).collect();
    assert_eq!(each, [1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 2.0, 1.0, 1.0]);
    for (old, new, orders) in [(5, 5, 252.0), (5, 7, 792.0), (25, 25, 126_410_606_437_752.0)] {
        let each = distribution_of_u(old, new);
        assert!((each.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((each[0] * orders - 1.0).abs() < 1e-9, "{old} and {new}");
    }
}

#[test]
fn beyond_the_exact_sizes_the_normal_tail_goes_on_where_they_end() {
    let exact = TailOfU::Exact(distribution_of_u(25, 25));
    let normal = TailOfU::Normal { mean: 312.5, deviation: (625.0_f64 * 51.0 / 12.0).sqrt() };
    for rank in [150, 180, 220, 260] {
        let (exact, normal) = (exact.probability_under(rank), normal.probability_under(rank));
        assert!((exact - normal).abs() < 0.002, "under {rank}: {exact} and {normal}");
    }
}

#[test]
fn two_runs_that_lie_apart_give_an_interval_apart_from_one() {
    let old = [100.0, 101.0, 99.0, 102.0, 98.0];
    let new = [80.0, 81.0, 79.0, 82.0, 78.0];
    let shift = shift(&old, &new, Scale::Ratio).unwrap();
    assert!((shift.middle - 0.8).abs() < 0.01, "{shift:?}");
    assert!((shift.coverage - (1.0 - 2.0 / 252.0)).abs() < 1e-12);
    assert_eq!(verdict(&shift, Scale::Ratio, Better::Higher), Verdict::Worse);
    assert_eq!(verdict(&shift, Scale::Ratio, Better::Lower), Verdict::Better);
}

#[test]
fn three_rounds_are_too_few_for_a_verdict() {
    let three = estimate(&[2.0, 2.1, 2.2]).unwrap();
    assert_eq!(verdict(&three, Scale::Ratio, Better::Higher), Verdict::CannotTell);
    let five = estimate(&[2.0, 2.1, 2.2, 2.3, 2.4]).unwrap();
    assert_eq!(verdict(&five, Scale::Ratio, Better::Higher), Verdict::Better);
}

#[test]
fn what_differs_by_less_than_anybody_notices_is_the_same() {
    let hair = estimate(&[1.001, 1.002, 1.001, 1.003, 1.002]).unwrap();
    assert_eq!(verdict(&hair, Scale::Ratio, Better::Lower), Verdict::Same);
    let few = estimate(&[1.001, 1.002, 1.001]).unwrap();
    assert_eq!(verdict(&few, Scale::Ratio, Better::Lower), Verdict::CannotTell);
}

#[test]
fn shares_in_percent_are_compared_by_difference_and_may_be_zero() {
    assert_eq!(relate(Scale::Ratio, 0.0, 0.0), None);
    let same = shift(&[0.0; 5], &[0.0; 5], Scale::Points).unwrap();
    assert_eq!(verdict(&same, Scale::Points, Better::Lower), Verdict::Same);
    let lossy = shift(&[0.0; 5], &[1.0, 1.1, 0.9, 1.2, 1.0], Scale::Points).unwrap();
    assert_eq!(verdict(&lossy, Scale::Points, Better::Lower), Verdict::Worse);
}

#[test]
fn the_interval_of_the_median_covers_as_often_as_it_says() {
    let mut chance = Chance::seeded(1);
    for count in [3, 5, 6, 7, 9, 20] {
        let promised = estimate(&chance.rounds(count, 1.0, 0.3)).unwrap().coverage;
        let covered = share_of(|| {
            let estimate = estimate(&chance.rounds(count, 1.0, 0.3)).unwrap();
            estimate.low <= 1.0 && 1.0 <= estimate.high
        });
        assert!((covered - promised).abs() <= slack(promised), "{count}: {covered}, {promised}");
    }
}

#[test]
fn the_interval_between_two_runs_covers_as_often_as_it_says() {
    let mut chance = Chance::seeded(2);
    for (old, new) in [(4, 4), (5, 5), (5, 7), (10, 12), (26, 30)] {
        let mut promised = 0.0;
        let covered = share_of(|| {
            let (old, new) = (chance.rounds(old, 1.0, 0.2), chance.rounds(new, 1.3, 0.2));
            let shift = shift(&old, &new, Scale::Ratio).unwrap();
            promised = shift.coverage;
            shift.low <= 1.3 && 1.3 <= shift.high
        });
        assert!((covered - promised).abs() <= slack(promised) + 0.002, "{old}, {new}: {covered}");
    }
}

#[test]
fn false_alarms_stay_within_what_the_coverage_leaves() {
    let mut chance = Chance::seeded(3);
    for count in [5, 7] {
        let paired = share_of(|| {
            let ratios: Vec<f64> =
                (0..count).map(|_| chance.round(1.0, 0.05) / chance.round(1.0, 0.05)).collect();
            let relation = estimate(&ratios).unwrap();
            verdict(&relation, Scale::Ratio, Better::Higher) != Verdict::CannotTell
        });
        let left = 1.0 - estimate(&chance.rounds(count, 1.0, 0.05)).unwrap().coverage;
        assert!(paired <= left + slack(left), "{count} paired rounds: {paired} of {left}");
        let between = share_of(|| {
            let (old, new) = (chance.rounds(count, 1.0, 0.05), chance.rounds(count, 1.0, 0.05));
            let shift = shift(&old, &new, Scale::Ratio).unwrap();
            verdict(&shift, Scale::Ratio, Better::Higher) != Verdict::CannotTell
        });
        assert!(between <= 0.01 + slack(0.01), "{count} rounds in two runs: {between}");
    }
}

#[test]
fn a_planted_loss_of_a_fifth_is_seen_in_five_to_seven_rounds() {
    let mut chance = Chance::seeded(4);
    for (count, spread) in [(5, 0.03), (5, 0.05), (7, 0.05)] {
        let seen = share_of(|| {
            let (old, new) = (chance.rounds(count, 1.0, spread), chance.rounds(count, 0.8, spread));
            let shift = shift(&old, &new, Scale::Ratio).unwrap();
            verdict(&shift, Scale::Ratio, Better::Higher) == Verdict::Worse
        });
        assert!(seen > 0.98, "{count} rounds at {spread}: seen in {seen}");
        let seen_in_one_run = share_of(|| {
            let ratios: Vec<f64> =
                (0..count).map(|_| chance.round(0.8, spread) / chance.round(1.0, spread)).collect();
            let relation = estimate(&ratios).unwrap();
            verdict(&relation, Scale::Ratio, Better::Higher) == Verdict::Worse
        });
        assert!(seen_in_one_run > 0.98, "{count} paired rounds at {spread}: {seen_in_one_run}");
    }
}
