//! Clients that have not entered: so many are borne, and the newest are preferred, so that those
//! who say nothing keep nobody out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// One address, other than this machine, has this part of them.
const SHARE: usize = 8;

/// Who has come and not entered.
pub(super) struct Strangers {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    present: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

impl Strangers {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), state: Mutex::default() }
    }

    /// Counts one more; if that is too many, the one that came first is sent away. The number is
    /// to be given back to [`Self::part`], the token says when to go.
    pub(super) fn meet(&self, address: IpAddr) -> (u64, CancellationToken) {
        let mut state = self.lock();
        let address = address.to_canonical();
        let most = if address.is_loopback() { self.max } else { (self.max / SHARE).max(1) };
        let same = state.present.iter().filter(|(_, (other, _))| *other == address);
        let oldest = match same.clone().count() >= most {
            true => same.map(|(number, _)| *number).next(),
            false if state.present.len() >= self.max => state.present.keys().next().copied(),
            false => None,
        };
        if let Some((_, token)) = oldest.and_then(|number| state.present.remove(&number)) {
            token.cancel();
        }
        state.last += 1;
        let (number, token) = (state.last, CancellationToken::new());
        state.present.insert(number, (address, token.clone()));
        (number, token)
    }

    /// One has entered, or is gone.
    pub(super) fn part(&self, number: u64) {
        self.lock().present.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Strangers;

    #[test]
    fn those_who_came_first_make_room() {
        let strangers = Strangers::new(16);
        let here = IpAddr::from([127, 0, 0, 1]);
        let all: Vec<_> = (0..20).map(|_| strangers.meet(here)).collect();
        let gone: Vec<bool> = all.iter().map(|(_, token)| token.is_cancelled()).collect();
        assert!(gone.iter().take(4).all(|gone| *gone) && !gone.iter().skip(4).any(|gone| *gone));
        strangers.part(all[19].0);
        let (_, next) = strangers.meet(here);
        assert!(!next.is_cancelled() && !all[4].1.is_cancelled());
    }

    #[test]
    fn one_address_has_a_share() {
        let strangers = Strangers::new(16);
        let other = strangers.meet(IpAddr::from([127, 0, 0, 1]));
        let there = IpAddr::from([192, 0, 2, 1]);
        let all: Vec<_> = (0..3).map(|_| strangers.meet(there)).collect();
        assert!(all[0].1.is_cancelled() && !all[1].1.is_cancelled() && !other.1.is_cancelled());
    }
}
