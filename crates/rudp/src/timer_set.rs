//! The deadlines of one connection, one slot for each reason: no heap, no allocation.

use std::time::Instant;

use crate::{Deadline, Timer};

#[derive(Debug)]
pub(crate) struct TimerSet {
    slots: [Option<Instant>; Timer::ALL.len()],
}

impl TimerSet {
    pub(crate) fn new() -> Self {
        Self { slots: [None; Timer::ALL.len()] }
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.slots[timer as usize] = Some(at);
    }

    pub(crate) fn set_or_stop(&mut self, timer: Timer, at: Option<Instant>) {
        self.slots[timer as usize] = at;
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.slots[timer as usize] = None;
    }

    pub(crate) fn clear(&mut self) {
        self.slots = [None; Timer::ALL.len()];
    }

    /// Stops and answers the first timer that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.slots[*timer as usize].is_some_and(|at| at <= now);
        let timer = Timer::ALL.into_iter().find(due)?;
        self.stop(timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Deadline> {
        let set = Timer::ALL.into_iter().zip(self.slots);
        set.filter_map(|(why, at)| at.map(|at| Deadline { at, why }))
            .min_by_key(|deadline| deadline.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::epoch;

    #[test]
    fn every_timer_has_its_own_slot() {
        let mut timers = TimerSet::new();
        for (delay, timer) in (1..).zip(Timer::ALL) {
            timers.set(timer, epoch() + Duration::from_secs(delay));
        }
        assert_eq!(timers.take_due(epoch()), None);
        for (delay, timer) in (1..).zip(Timer::ALL) {
            let at = epoch() + Duration::from_secs(delay);
            assert_eq!(timers.next(), Some(Deadline { at, why: timer }));
            assert_eq!(timers.take_due(at), Some(timer));
        }
        assert_eq!(timers.next(), None);
    }
}
