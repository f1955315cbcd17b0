//! Which stream is next: four classes, strict between them, taking turns inside one.

use std::{collections::VecDeque, mem::size_of};

use crate::{Priority, StreamId, stream::Stream};

/// The streams that have something to send.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    ready: [VecDeque<StreamId>; Priority::ALL.len()],
    /// Those that only the connection's limit holds back.
    held_back: Vec<StreamId>,
    /// Those with a RESET, STOP or `MAX_STREAM_DATA` to send.
    control: VecDeque<StreamId>,
}

impl Schedule {
    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.ready.iter().all(VecDeque::is_empty)
    }

    /// Puts the stream last in its class, if it has something to send and is not there.
    pub(crate) fn ready(&mut self, id: StreamId, stream: &mut Stream) {
        if !stream.in_ready && stream.send.wants_to_send() {
            stream.in_ready = true;
            self.ready[stream.priority.index()].push_back(id);
        }
    }

    pub(crate) fn next_ready(&self, class: Priority) -> Option<StreamId> {
        self.ready[class.index()].front().copied()
    }

    /// How many streams of the class have something to send.
    pub(crate) fn ready_count(&self, class: Priority) -> usize {
        self.ready[class.index()].len()
    }

    /// Takes the first stream of the class out of the queue; the caller says where it goes.
    pub(crate) fn pop_ready(&mut self, class: Priority) {
        self.ready[class.index()].pop_front();
    }

    pub(crate) fn hold_back(&mut self, id: StreamId, stream: &mut Stream) {
        if !stream.is_held_back {
            stream.is_held_back = true;
            self.held_back.push(id);
        }
    }

    pub(crate) fn take_held_back(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.held_back)
    }

    pub(crate) fn control(&mut self, id: StreamId, stream: &mut Stream) {
        if !stream.in_control {
            stream.in_control = true;
            self.control.push_back(id);
        }
    }

    pub(crate) fn next_control(&self) -> Option<StreamId> {
        self.control.front().copied()
    }

    pub(crate) fn pop_control(&mut self) {
        self.control.pop_front();
    }

    pub(crate) fn memory(&self) -> usize {
        let ready: usize = self.ready.iter().map(VecDeque::capacity).sum();
        (ready + self.held_back.capacity() + self.control.capacity()) * size_of::<StreamId>()
    }
}
