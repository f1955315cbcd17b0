//! Texts that a passing host has taken and not delivered: it forgets them when it goes, so whoever
//! wrote them sends them again at the next one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use portolan_identity::PeerId;
use portolan_protocol::{MessageId, Name};

/// Texts that are kept; of more the oldest are not sent again.
const TEXTS_MAX: usize = 256;
/// Receipts that came before the answer which says what they are about.
const EARLY_MAX: usize = 64;

/// A text, and for whom it is: a name may be somebody else's at the next host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) to: Name,
    pub(super) key: PeerId,
    pub(super) text: String,
}

/// What the host of this moment has taken, and what waits to be sent again.
#[derive(Debug)]
pub(super) struct Undelivered {
    host: PeerId,
    taken: BTreeMap<MessageId, Text>,
    early: VecDeque<MessageId>,
    waiting: VecDeque<Text>,
}

impl Undelivered {
    pub(super) fn new(host: PeerId) -> Self {
        let (taken, early, waiting) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { host, taken, early, waiting }
    }

    /// A host has taken a text.
    pub(super) fn on_taken(&mut self, host: PeerId, id: MessageId, text: Text) {
        // We may have come to it and not been told yet.
        self.on_host(host);
        if let Some(place) = self.early.iter().position(|early| *early == id) {
            self.early.remove(place);
            return;
        }
        self.taken.insert(id, text);
        if self.taken.len() > TEXTS_MAX {
            self.taken.pop_first();
        }
    }

    /// It has arrived.
    pub(super) fn on_arrived(&mut self, id: MessageId) {
        if self.taken.remove(&id).is_none() {
            self.early.push_back(id);
            if self.early.len() > EARLY_MAX {
                self.early.pop_front();
            }
        }
    }

    /// We are at this host now: what another one has taken waits to be sent again.
    pub(super) fn on_host(&mut self, host: PeerId) {
        if host == self.host {
            return;
        }
        self.host = host;
        self.early.clear();
        for (_, text) in std::mem::take(&mut self.taken) {
            self.put_back(text);
        }
    }

    /// For whom something waits.
    pub(super) fn names(&self) -> BTreeSet<Name> {
        self.waiting.iter().map(|text| text.to.clone()).collect()
    }

    /// Takes the next text for `to`.
    pub(super) fn take(&mut self, to: &Name) -> Option<Text> {
        let place = self.waiting.iter().position(|text| text.to == *to)?;
        self.waiting.remove(place)
    }

    /// It could not be sent: it waits on, before what was written later.
    pub(super) fn return_first(&mut self, text: Text) {
        self.waiting.push_front(text);
        self.waiting.truncate(TEXTS_MAX);
    }

    fn put_back(&mut self, text: Text) {
        self.waiting.push_back(text);
        if self.waiting.len() > TEXTS_MAX {
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn text(to: &str, text: &str) -> Text {
        Text { to: Name::new(to).unwrap(), key: host(9), text: text.to_owned() }
    }

    fn waiting(of: &mut Undelivered, to: &str) -> Vec<String> {
        let to = Name::new(to).unwrap();
        std::iter::from_fn(|| of.take(&to)).map(|text| text.text).collect()
    }

    #[test]
    fn what_did_not_arrive_at_one_host_waits_for_the_next_in_order() {
        let mut all = Undelivered::new(host(1));
        for (id, words) in [(1, "one"), (2, "two"), (3, "three")] {
            all.on_taken(host(1), MessageId(id), text("bob", words));
        }
        all.on_taken(host(1), MessageId(4), text("carol", "four"));
        all.on_arrived(MessageId(2));
        all.on_host(host(1));
        assert!(all.names().is_empty(), "the same host still has them");
        all.on_host(host(2));
        assert_eq!(all.names().len(), 2);
        let bob = Name::new("bob").unwrap();
        let first = all.take(&bob).unwrap();
        all.return_first(first);
        assert_eq!(waiting(&mut all, "bob"), ["one", "three"]);
        assert_eq!(waiting(&mut all, "carol"), ["four"]);
    }

    #[test]
    fn a_receipt_may_come_before_the_answer_and_an_answer_before_word_of_its_host() {
        let mut all = Undelivered::new(host(1));
        all.on_arrived(MessageId(1));
        all.on_taken(host(1), MessageId(1), text("bob", "arrived"));
        all.on_host(host(2));
        assert!(all.names().is_empty());
        all.on_taken(host(3), MessageId(2), text("bob", "taken"));
        all.on_host(host(3));
        assert!(all.names().is_empty());
        all.on_host(host(4));
        assert_eq!(waiting(&mut all, "bob"), ["taken"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut all = Undelivered::new(host(1));
        for id in 0..2 * TEXTS_MAX as u64 {
            all.on_taken(host(1), MessageId(id), text("bob", "words"));
            all.on_arrived(MessageId(u64::MAX - id));
        }
        all.on_host(host(2));
        assert_eq!(waiting(&mut all, "bob").len(), TEXTS_MAX);
        assert!(all.early.is_empty());
    }
}
