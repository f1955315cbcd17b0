//! Messages once, and their receipts.

use std::collections::{HashSet, VecDeque};

use portolan_protocol::{MessageId, ReceiptState, Receipts};

/// Remembers which messages were handed out, and which the server has not been told of.
#[derive(Debug)]
pub(crate) struct Inbox {
    seen: HashSet<MessageId>,
    order: VecDeque<MessageId>,
    seen_max: usize,
    unconfirmed: Vec<MessageId>,
}

impl Inbox {
    pub(crate) fn new(seen_max: usize) -> Self {
        Self {
            seen: HashSet::new(),
            order: VecDeque::new(),
            seen_max: seen_max.max(1),
            unconfirmed: Vec::new(),
        }
    }

    /// Whether this message was handed out before.
    pub(crate) fn knows(&self, id: MessageId) -> bool {
        self.seen.contains(&id)
    }

    /// Notes that the application has it.
    pub(crate) fn on_handed_out(&mut self, id: MessageId) {
        if self.seen.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > self.seen_max {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
    }

    /// Notes that the server is to be told.
    pub(crate) fn confirm(&mut self, id: MessageId) {
        if !self.unconfirmed.contains(&id) {
            self.unconfirmed.push(id);
        }
    }

    /// The next receipt for the server, with at most `max` ids.
    pub(crate) fn poll_receipt(&mut self, max: usize) -> Option<Receipts> {
        let count = self.unconfirmed.len().min(max);
        let ids: Vec<_> = self.unconfirmed.drain(..count).collect();
        (!ids.is_empty()).then_some(Receipts { ids, state: ReceiptState::Delivered })
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::MessageId;

    use super::Inbox;

    #[test]
    fn a_message_seen_before_is_known_and_confirmed_again() {
        let mut inbox = Inbox::new(8);
        assert!(!inbox.knows(MessageId(1)));
        inbox.on_handed_out(MessageId(1));
        inbox.confirm(MessageId(1));
        assert_eq!(inbox.poll_receipt(10).unwrap().ids, [MessageId(1)]);
        assert!(inbox.knows(MessageId(1)));
        inbox.confirm(MessageId(1));
        assert_eq!(inbox.poll_receipt(10).unwrap().ids, [MessageId(1)]);
        assert_eq!(inbox.poll_receipt(10), None);
    }

    #[test]
    fn memory_of_ids_is_bounded_and_forgets_the_oldest() {
        let mut inbox = Inbox::new(2);
        (1..=3).for_each(|id| inbox.on_handed_out(MessageId(id)));
        assert!(!inbox.knows(MessageId(1)));
        assert!(inbox.knows(MessageId(2)) && inbox.knows(MessageId(3)));
    }

    #[test]
    fn receipts_come_in_pages() {
        let mut inbox = Inbox::new(100);
        (0..5).for_each(|id| inbox.confirm(MessageId(id)));
        let pages: Vec<_> = std::iter::from_fn(|| inbox.poll_receipt(2)).collect();
        assert_eq!(pages.iter().map(|page| page.ids.len()).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
