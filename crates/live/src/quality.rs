//! One line about how it sounds.

use std::time::Duration;

use crate::units::FRAME;

/// The best that G.107 gives to a path without any trouble (its default values together).
const R_BEST: f64 = 93.2;

/// Loss in percent that costs half of what is left, with concealment: that of G.711 with its
/// appendix I (G.113 appendix I). G.113 has no value for Opus, whose concealment and repair are
/// younger; so this is an estimate on the careful side.
const ROBUSTNESS: f64 = 25.1;

/// Opus adds no impairment of its own at the rates used here.
const CODEC: f64 = 0.0;

/// What Opus holds back at the sender: 6.5 ms.
const LOOKAHEAD: Duration = Duration::from_micros(6_500);

/// How a stream has sounded in the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// Frames that never came, share from 0 to 1.
    pub loss: f64,
    /// Frames that came when their time had passed, share from 0 to 1.
    pub late: f64,
    /// Sound made from the copy that the next frame carried, share of all sound from 0 to 1.
    pub repaired: f64,
    /// Sound made up because there was none, share of all sound from 0 to 1.
    pub concealed: f64,
    /// How long a frame waits that nothing held up.
    pub buffer: Duration,
    /// How unevenly frames come (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// There and back on the network, where the caller knows it.
    pub round_trip: Option<Duration>,
    /// From mouth to ear: half of the round trip, the buffer, one frame and what the codec holds
    /// back.
    pub delay: Duration,
    /// The rating of ITU-T G.107, 0 to 93.2.
    pub r_factor: f64,
    /// What people would say on average, 1 (bad) to 4.4 (as good as a telephone gets).
    pub mos: f64,
}

impl Quality {
    /// Computes delay, rating and score from the rest; `burst` is how much longer losses are than
    /// chance would make them.
    pub(crate) fn rate(mut self, burst: f64) -> Self {
        let way = self.round_trip.unwrap_or_default() / 2;
        self.delay = way + self.buffer + FRAME + LOOKAHEAD;
        self.r_factor = r_factor(self.delay, self.concealed, burst);
        self.mos = mos(self.r_factor);
        self
    }
}

/// The E-model of ITU-T G.107 (06/2015) with its default values, where only delay and loss are
/// left: R = 93.2 - Id - Ie,eff.
///
/// Id is the approximation of Cole and Rosenbluth (Voice over IP performance monitoring, 2001), and
/// Ie,eff equation 7-29 of G.107. `delay` is from mouth to ear, `lost` the share of sound that was
/// made up, `burst` the burst ratio BurstR (1: losses are independent).
#[must_use]
pub fn r_factor(delay: Duration, lost: f64, burst: f64) -> f64 {
    let millis = delay.as_secs_f64() * 1e3;
    let echo_free = 0.024 * millis + 0.11 * (millis - 177.3).max(0.0);
    let percent = (lost * 100.0).clamp(0.0, 100.0);
    let loss = CODEC + (95.0 - CODEC) * percent / (percent / burst.max(1.0) + ROBUSTNESS);
    (R_BEST - echo_free - loss).clamp(0.0, R_BEST)
}

/// The mean opinion score of a rating (ITU-T G.107 annex B).
#[must_use]
pub fn mos(r_factor: f64) -> f64 {
    let r = r_factor.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

impl std::fmt::Display for Quality {
    /// `loss 1.2 %, late 0.1 %, concealed 0.3 %, buffer 42 ms, jitter 6 ms, rtt 50 ms, MOS 4.3`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [loss, late, concealed] = [self.loss, self.late, self.concealed].map(|x| x * 100.0);
        let (buffer, jitter) = (self.buffer.as_millis(), self.jitter.as_millis());
        write!(f, "loss {loss:.1} %, late {late:.1} %, concealed {concealed:.1} %, ")?;
        write!(f, "buffer {buffer} ms, jitter {jitter} ms, ")?;
        match self.round_trip {
            Some(round_trip) => write!(f, "rtt {} ms, ", round_trip.as_millis())?,
            None => f.write_str("rtt unknown, ")?,
        }
        write!(f, "MOS {:.1}", self.mos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_follows_the_tables_of_the_recommendation() {
        // G.107 table B.1: R 90 → 4.34, 80 → 4.03, 70 → 3.60, 60 → 3.10, 50 → 2.58.
        let table = [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)];
        for (r, score) in table {
            assert!((mos(r) - score).abs() < 0.01, "{r}: {}", mos(r));
        }
    }

    #[test]
    fn delay_beyond_the_limit_of_talking_and_loss_cost() {
        let fine = r_factor(Duration::from_millis(100), 0.0, 1.0);
        assert!((fine - 90.8).abs() < 0.1, "{fine}");
        assert!(r_factor(Duration::from_millis(400), 0.0, 1.0) < 60.0);
        let lossy = r_factor(Duration::from_millis(100), 0.05, 1.0);
        assert!((70.0..78.0).contains(&lossy), "{lossy}");
        assert!(r_factor(Duration::from_millis(100), 0.05, 3.0) < lossy);
    }
}
