//! Whether someone beside us fills the queue and does not mind what is lost in it.
//!
//! To losses we answer by giving way, and so does everyone who takes them for congestion: then
//! there are none for many rounds. Where they go on although we ask for no more than we have, they
//! are the doing of others who never yield, and giving way to those ends nowhere.

/// Share of a steady round in how often they lose.
const WEIGHT: f64 = 1.0 / 16.0;

/// Share of the steady rounds that lose beside someone who does not yield: a third to nearly all
/// of them. Beside one who does it is an eighth.
const BEGINS: f64 = 0.26;

/// Share of the rounds below which it is over.
const ENDS: f64 = 0.13;

/// Who has more than this share of the path is not besieged, but the one who takes it.
const SHARE_MAX: f64 = 0.75;

#[derive(Debug, Default)]
pub(super) struct Siege {
    /// Share of steady rounds that have lost in a queue.
    lossy: f64,
    is_on: bool,
}

impl Siege {
    /// A round is over in which we asked for no more than we had, with `share` of the path.
    pub(super) fn on_steady_round(&mut self, is_lossy: bool, share: f64) {
        let value = if is_lossy { 1.0 } else { 0.0 };
        self.lossy += WEIGHT * (value - self.lossy);
        let limit = if self.is_on { ENDS } else { BEGINS };
        self.is_on = self.lossy > limit && share <= SHARE_MAX;
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Yields again, to see whether it is needed: two who believe this of each other would never
    /// find out else.
    pub(super) fn relent(&mut self) {
        *self = Self { lossy: self.lossy.min(ENDS), is_on: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of which rounds it says, after each, that we are besieged: every `nth` round loses.
    fn is_on_after(rounds: u32, nth: u32, share: f64) -> bool {
        let mut siege = Siege::default();
        (0..rounds).for_each(|round| siege.on_steady_round(round % nth == 0, share));
        siege.is_on()
    }

    #[test]
    fn losses_that_never_end_are_those_of_others_unless_we_have_most_of_the_path() {
        assert!(is_on_after(40, 2, 0.3));
        assert!(!is_on_after(40, 2, 0.9), "the others are besieged");
        assert!(!is_on_after(200, 8, 0.3), "they yield in between");
    }

    #[test]
    fn a_siege_ends_when_it_does_and_is_doubted_at_each_look() {
        let mut siege = Siege::default();
        (0..40).for_each(|_| siege.on_steady_round(true, 0.3));
        let mut doubted = Siege { ..siege };
        doubted.relent();
        assert!(siege.is_on() && !doubted.is_on());
        (0..2).for_each(|_| doubted.on_steady_round(true, 0.3));
        assert!(!doubted.is_on(), "two rounds say little");
        (0..3).for_each(|_| doubted.on_steady_round(true, 0.3));
        assert!(doubted.is_on(), "what was known is not forgotten altogether");
        (0..40).for_each(|_| siege.on_steady_round(false, 0.3));
        assert!(!siege.is_on());
    }
}
