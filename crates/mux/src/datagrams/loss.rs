//! How much of what is sent gets lost, and whether losses come in bursts.

/// Messages over which the slow average is taken.
const SLOW: f64 = 512.0;

/// Messages over which the fast average is taken, which tells that it has become worse.
const FAST: f64 = 64.0;

/// Losses over which it is told how often another one follows.
const BURSTS: f64 = 32.0;

/// The share that is taken to be lost before anything is known, and how many messages that belief
/// weighs.
const ASSUMED: (f64, f64) = (0.02, 50.0);

/// An estimate from what became of the first copies of numbered messages.
#[derive(Debug)]
pub(super) struct Loss {
    slow: f64,
    fast: f64,
    /// How often the message after a lost one was lost as well.
    follows: f64,
    weight: f64,
    last_lost: Option<u64>,
}

impl Loss {
    pub(super) fn new() -> Self {
        let (share, weight) = ASSUMED;
        Self { slow: share, fast: share, follows: share, weight, last_lost: None }
    }

    pub(super) fn on_arrived(&mut self) {
        self.add(0.0);
    }

    pub(super) fn on_lost(&mut self, sequence: u64) {
        self.add(1.0);
        let Some(last) = self.last_lost.replace(sequence) else { return };
        let follows = if last + 1 == sequence { 1.0 } else { 0.0 };
        self.follows += (follows - self.follows) / BURSTS;
    }

    /// The share that is lost, from 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.slow.max(self.fast)
    }

    /// The share that is lost of those that follow a lost one.
    pub(super) fn share_after_loss(&self) -> f64 {
        self.follows.max(self.share())
    }

    fn add(&mut self, lost: f64) {
        self.weight = (self.weight + 1.0).min(SLOW);
        self.slow += (lost - self.slow) / self.weight;
        self.fast += (lost - self.fast) / FAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An estimate after `count` messages, of which those are lost that `is_lost` names.
    fn after(count: u64, is_lost: impl Fn(u64) -> bool) -> Loss {
        let mut loss = Loss::new();
        for sequence in 0..count {
            if is_lost(sequence) { loss.on_lost(sequence) } else { loss.on_arrived() }
        }
        loss
    }

    #[test]
    fn the_first_belief_fades_where_nothing_is_lost() {
        assert!(Loss::new().share() > 0.015);
        assert!(after(60, |_| false).share() < 0.01);
        assert!(after(1_000, |_| false).share() < 0.001);
    }

    #[test]
    fn a_steady_loss_is_found_and_not_taken_for_bursts() {
        let loss = after(2_000, |sequence| sequence % 20 == 7);
        assert!((0.04..0.08).contains(&loss.share()), "{}", loss.share());
        assert!(loss.share_after_loss() < 0.1, "{}", loss.share_after_loss());
    }

    #[test]
    fn bursts_are_told_from_single_losses() {
        let loss = after(2_000, |sequence| sequence % 60 < 3);
        assert!((0.04..0.10).contains(&loss.share()), "{}", loss.share());
        assert!(loss.share_after_loss() > 0.4, "{}", loss.share_after_loss());
    }

    #[test]
    fn what_became_worse_is_noticed_within_a_second_of_speech() {
        let loss = after(1_050, |sequence| sequence >= 1_000 && sequence % 10 == 0);
        assert!(loss.share() > 0.04, "{}", loss.share());
    }
}
