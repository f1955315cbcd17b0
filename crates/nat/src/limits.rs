//! Every bound and every time of an agent.

use std::time::Duration;

/// What an agent holds and sends at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Candidates of the other side; more are refused.
    pub candidates: usize,
    /// Pairs of a socket and a remote address, those found out on the way included.
    pub pairs: usize,
    /// Checks to an address that has never answered, until it does.
    pub unanswered_per_address: u32,
    /// Checks to all ports of a machine that has never answered; those of birthday probing are
    /// counted apart.
    pub unanswered_per_machine: u32,
    /// Answers that wait to be sent.
    pub answers: usize,
    /// News that wait to be taken.
    pub events: usize,
    /// Sockets that an agent behind an address-dependent mapping opens besides its first.
    pub birthday_sockets: u16,
    /// Checks that its partner sends to ports drawn by lot.
    pub birthday_checks: u16,
}

impl Default for Limits {
    /// 256 sockets and 1,024 checks meet with a probability of 98 % among 64,512 ports.
    fn default() -> Self {
        Self {
            candidates: 16,
            pairs: 48,
            unanswered_per_address: 8,
            unanswered_per_machine: 24,
            answers: 32,
            events: 16,
            birthday_sockets: 256,
            birthday_checks: 1024,
        }
    }
}

/// When an agent does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two checks (RFC 8445 §14.2: Ta), if the second is not the first of its pair.
    pub pace: Duration,
    /// Before the first check of a pair: there are few, and one of them is to work (RFC 8445
    /// §14.2: no less than 5 ms).
    pub first_pace: Duration,
    /// A check is repeated after this, then after twice as long, and so on.
    pub first_wait: Duration,
    /// The longest wait between two repetitions.
    pub longest_wait: Duration,
    /// After the first pair works, better ones have this long to work too; less where answers
    /// come quickly.
    pub settle: Duration,
    /// Birthday probing begins if nothing has worked by then.
    pub birthday_after: Duration,
    /// Between two checks of birthday probing.
    pub birthday_pace: Duration,
    /// Between two questions whether the other still consents (RFC 7675 §5.1), more or less.
    pub consent_every: Duration,
    /// Without an answer for so long the path is lost (RFC 7675 §5.1).
    pub consent_expires: Duration,
    /// If nothing has worked by then, there is no path.
    pub give_up: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            pace: Duration::from_millis(50),
            first_pace: Duration::from_millis(5),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_millis(1600),
            settle: Duration::from_millis(150),
            birthday_after: Duration::from_secs(2),
            birthday_pace: Duration::from_millis(5),
            consent_every: Duration::from_secs(5),
            consent_expires: Duration::from_secs(30),
            give_up: Duration::from_secs(15),
        }
    }
}
