//! Marks of routers instead of drops: whether the path carries them, and what they say
//! (RFC 9000 §13.4, RFC 3168).
//!
//! Packets are marked as able to carry a mark (ECT(0)) from the first on. The remote counts the
//! marks that arrive and says the counts with its acknowledgements; if they do not fit what was
//! sent, something on the path clears or mangles them, and packets go without from then on.

use crate::Ecn;

/// Datagrams that are marked before anything is known of the path (RFC 9000 §A.4).
const TRIAL: u32 = 10;

/// So many packets that all arrive with the mark of congestion show a path that sets it always.
const ALL_CONGESTED: u64 = 10;

/// Marks of packets that were received, or that the remote has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EcnCounts {
    pub(crate) ect0: u64,
    pub(crate) ect1: u64,
    pub(crate) ce: u64,
}

impl EcnCounts {
    /// Counts a packet.
    pub(crate) fn count(&mut self, mark: Option<Ecn>) {
        match mark {
            Some(Ecn::Ect0) => self.ect0 += 1,
            Some(Ecn::Ect1) => self.ect1 += 1,
            Some(Ecn::Ce) => self.ce += 1,
            None => {}
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// What was added since `before`; `None`: something was taken away.
    fn since(self, before: Self) -> Option<Self> {
        Some(Self {
            ect0: self.ect0.checked_sub(before.ect0)?,
            ect1: self.ect1.checked_sub(before.ect1)?,
            ce: self.ce.checked_sub(before.ce)?,
        })
    }
}

/// What one level has sent with marks, and what the remote said of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EcnAudit {
    /// Packets sent with ECT(0).
    pub(crate) sent: u64,
    /// Counts that the remote said last.
    told: EcnCounts,
}

/// What an acknowledgement says of marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EcnReport {
    /// Packets sent with ECT(0) that it newly acknowledges.
    pub(crate) newly_acked: u64,
    /// The remote's counts, if it has any.
    pub(crate) counts: Option<EcnCounts>,
}

/// Whether packets to one address are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marking {
    state: State,
    /// Packets that were congested while nothing else was known.
    congested: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many datagrams more are marked.
    Trial(u32),
    /// The trial is over, and what became of it is not known yet.
    Waiting,
    /// Marks arrive.
    Capable,
    /// Marks do not arrive, or not as they were sent.
    Failed,
}

/// What is learnt from an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing new.
    Quiet,
    /// Routers marked so many packets more.
    Congested(u64),
}

impl Marking {
    pub(crate) fn new() -> Self {
        Self { state: State::Trial(TRIAL), congested: 0 }
    }

    /// What the next datagrams are sent with.
    pub(crate) fn mark(self) -> Option<Ecn> {
        match self.state {
            State::Trial(_) | State::Capable => Some(Ecn::Ect0),
            State::Waiting | State::Failed => None,
        }
    }

    /// Whether the remote has confirmed that marks arrive.
    pub(crate) fn is_capable(self) -> bool {
        self.state == State::Capable
    }

    /// So many datagrams were sent with [`Self::mark`].
    pub(crate) fn on_sent(&mut self, datagrams: usize) {
        if let State::Trial(left) = self.state {
            let sent = u32::try_from(datagrams).unwrap_or(u32::MAX);
            let left = left.saturating_sub(sent);
            self.state = if left > 0 { State::Trial(left) } else { State::Waiting };
        }
    }

    /// Nothing comes back: perhaps because marked packets are dropped.
    pub(crate) fn on_timeout(&mut self) {
        if let State::Trial(_) = self.state {
            self.state = State::Waiting;
        }
    }

    /// An acknowledgement of a packet newer than all before was read (RFC 9000 §13.4.2.1).
    pub(crate) fn on_ack(&mut self, audit: &mut EcnAudit, report: EcnReport) -> Verdict {
        if self.state == State::Failed {
            return Verdict::Quiet;
        }
        let Some(counts) = report.counts else {
            if report.newly_acked > 0 {
                self.state = State::Failed;
            }
            return Verdict::Quiet;
        };
        let Some(news) = counts.since(audit.told) else {
            self.state = State::Failed;
            return Verdict::Quiet;
        };
        let is_complete = news.ect0.saturating_add(news.ce) >= report.newly_acked;
        let is_possible = counts.ect0.saturating_add(counts.ce) <= audit.sent;
        if !is_complete || !is_possible || counts.ect1 > 0 {
            self.state = State::Failed;
            return Verdict::Quiet;
        }
        audit.told = counts;
        self.conclude(news)
    }

    fn conclude(&mut self, news: EcnCounts) -> Verdict {
        self.congested += news.ce;
        if news.ect0 > 0 {
            self.state = State::Capable;
        }
        match self.state {
            State::Capable if news.ce > 0 => Verdict::Congested(news.ce),
            State::Trial(_) | State::Waiting if self.congested >= ALL_CONGESTED => {
                self.state = State::Failed;
                Verdict::Quiet
            }
            State::Trial(_) | State::Waiting | State::Capable | State::Failed => Verdict::Quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ect0: u64, ect1: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1, ce })
    }

    /// A path to which ten datagrams of one packet each were sent.
    fn tried() -> (Marking, EcnAudit) {
        let mut marking = Marking::new();
        marking.on_sent(10);
        (marking, EcnAudit { sent: 10, ..EcnAudit::default() })
    }

    #[test]
    fn ten_datagrams_are_tried_and_more_when_they_arrived() {
        let mut marking = Marking::new();
        marking.on_sent(9);
        assert_eq!(marking.mark(), Some(Ecn::Ect0));
        marking.on_sent(1);
        assert_eq!(marking.mark(), None, "nothing is known yet");
        let mut audit = EcnAudit { sent: 10, ..EcnAudit::default() };
        let report = EcnReport { newly_acked: 4, counts: counts(4, 0, 0) };
        assert_eq!(marking.on_ack(&mut audit, report), Verdict::Quiet);
        assert_eq!(marking.mark(), Some(Ecn::Ect0));
        assert!(marking.is_capable());
    }

    #[test]
    fn marks_that_do_not_arrive_as_they_were_sent_end_it() {
        let cleared = EcnReport { newly_acked: 4, counts: None };
        let partly = EcnReport { newly_acked: 4, counts: counts(2, 0, 1) };
        let another = EcnReport { newly_acked: 4, counts: counts(4, 1, 0) };
        let too_many = EcnReport { newly_acked: 4, counts: counts(9, 0, 2) };
        let immense = EcnReport { newly_acked: 4, counts: counts(u64::MAX, 0, u64::MAX) };
        for report in [cleared, partly, another, too_many, immense] {
            let (mut marking, mut audit) = tried();
            assert_eq!(marking.on_ack(&mut audit, report), Verdict::Quiet);
            assert_eq!((marking.mark(), marking.state), (None, State::Failed), "{report:?}");
        }
    }

    #[test]
    fn counts_that_shrink_end_it() {
        let (mut marking, mut audit) = tried();
        marking.on_ack(&mut audit, EcnReport { newly_acked: 4, counts: counts(4, 0, 0) });
        marking.on_ack(&mut audit, EcnReport { newly_acked: 0, counts: counts(3, 0, 1) });
        assert_eq!(marking.mark(), None);
    }

    #[test]
    fn congestion_is_told_once_by_how_much_it_grew() {
        let (mut marking, mut audit) = tried();
        let mut hear = |ect0, ce, newly_acked| {
            marking.on_ack(&mut audit, EcnReport { newly_acked, counts: counts(ect0, 0, ce) })
        };
        assert_eq!(hear(2, 1, 3), Verdict::Congested(1));
        assert_eq!(hear(3, 1, 1), Verdict::Quiet);
        assert_eq!(hear(3, 3, 2), Verdict::Congested(2));
    }

    #[test]
    fn a_path_that_sets_all_marks_is_not_believed() {
        let (mut marking, mut audit) = tried();
        for ce in 1..=10 {
            let report = EcnReport { newly_acked: 1, counts: counts(0, 0, ce) };
            assert_eq!(marking.on_ack(&mut audit, report), Verdict::Quiet);
        }
        assert_eq!(marking.state, State::Failed);
    }

    #[test]
    fn silence_ends_the_trial_and_what_comes_late_is_heard_nevertheless() {
        let mut marking = Marking::new();
        marking.on_sent(2);
        marking.on_timeout();
        assert_eq!(marking.mark(), None);
        let mut audit = EcnAudit { sent: 2, ..EcnAudit::default() };
        marking.on_ack(&mut audit, EcnReport { newly_acked: 1, counts: counts(1, 0, 0) });
        assert!(marking.is_capable());
    }
}
