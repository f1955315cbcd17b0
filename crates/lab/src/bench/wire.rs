//! What client and server of a measurement say to each other on the subject's own streams.

use std::time::Duration;

/// Bytes of a live message: 20 ms of speech at 64 kbit/s.
pub(crate) const LIVE_SIZE: usize = 100;

/// What the opener of a stream asks for, with its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Send every question of this many bytes (a `u32`) back.
    Echo,
    /// Swallow and count.
    Sink,
    /// Swallow as much as a `u64` says, then answer one byte; again and again.
    Confirm,
    /// Send as fast as possible.
    Source,
    /// Answer one byte.
    Answer,
    /// Log the delays of live messages.
    Live,
}

impl Request {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Echo => b'E',
            Self::Sink => b'S',
            Self::Confirm => b'C',
            Self::Source => b'D',
            Self::Answer => b'A',
            Self::Live => b'L',
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            b'E' => Some(Self::Echo),
            b'S' => Some(Self::Sink),
            b'C' => Some(Self::Confirm),
            b'D' => Some(Self::Source),
            b'A' => Some(Self::Answer),
            b'L' => Some(Self::Live),
            _ => None,
        }
    }
}

/// One live message: which flow, which number, when it was sent on the shared clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveMessage {
    pub(crate) flow: u8,
    pub(crate) number: u32,
    pub(crate) sent_nanos: u64,
}

impl LiveMessage {
    pub(crate) fn encode(self) -> [u8; LIVE_SIZE] {
        let mut bytes = [0; LIVE_SIZE];
        bytes[0] = self.flow;
        bytes[1..5].copy_from_slice(&self.number.to_be_bytes());
        bytes[5..13].copy_from_slice(&self.sent_nanos.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (flow, rest) = bytes.split_first()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            flow: *flow,
            number: u32::from_be_bytes(*number),
            sent_nanos: u64::from_be_bytes(*sent),
        })
    }
}

/// How often a live flow sends.
pub(crate) const LIVE_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::{LiveMessage, Request};

    #[test]
    fn a_live_message_reads_back_and_a_short_one_is_refused() {
        let message = LiveMessage { flow: 2, number: 77, sent_nanos: u64::MAX - 1 };
        let bytes = message.encode();
        assert_eq!(LiveMessage::decode(&bytes), Some(message));
        assert_eq!(LiveMessage::decode(&bytes[..12]), None);
    }

    #[test]
    fn every_request_reads_back() {
        use Request::{Answer, Confirm, Echo, Live, Sink, Source};
        for request in [Echo, Sink, Confirm, Source, Answer, Live] {
            assert_eq!(Request::from_code(request.code()), Some(request));
        }
        assert_eq!(Request::from_code(0), None);
    }
}
