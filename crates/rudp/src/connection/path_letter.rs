//! Questions and answers of paths, each in a datagram of its own.

use std::time::Instant;

use super::Connection;
use crate::{
    ConnectionId, Route, Transmit,
    frame::{PATH_FRAME_LEN, put_path_challenge, put_path_response},
    packet::{DATAGRAM_MIN, Draft, KeyPhase, Level, TAG_LEN},
};

/// Bytes that a datagram with a question and an answer takes at least.
const LETTER_MIN: usize = 1 + ConnectionId::LEN + 4 + 2 * PATH_FRAME_LEN + TAG_LEN;

/// A datagram that tries a path.
struct Letter {
    route: Route,
    id: ConnectionId,
    answer: Option<[u8; 8]>,
    question: Option<[u8; 8]>,
    size_max: usize,
    padding: Padding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    None,
    /// As long as every path must carry, so that it is known to (RFC 9000 §8.2.1).
    Full,
}

impl Connection {
    /// What must go out besides the ordinary: questions and answers of paths, one datagram each.
    pub(super) fn transmit_path(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.standby.as_ref()?;
        let letter = self
            .challenge_letter(now)
            .or_else(|| self.candidate_letter(now))
            .or_else(|| self.question_letter())?;
        let is_sent = self.put_letter(now, buf, &letter);
        self.update_path_timer();
        is_sent.then(|| self.address(buf, &letter))
    }

    /// To the path in use, which has yet to be proved.
    fn challenge_letter(&mut self, now: Instant) -> Option<Letter> {
        let size_max = self.path.amplification_budget();
        let challenge = self.standby.as_mut()?.challenge.as_mut()?;
        if !challenge.is_due(now) {
            return None;
        }
        let data = self.secrets.draw(&self.integrity);
        challenge.on_sent(now, data);
        let is_new = self.path.rtt.first_sample().is_none();
        Some(Letter {
            route: self.path.route,
            id: self.names.remote,
            answer: None,
            question: Some(data),
            size_max,
            padding: if is_new { Padding::Full } else { Padding::None },
        })
    }

    fn candidate_letter(&mut self, now: Instant) -> Option<Letter> {
        let side = self.side;
        let candidate = self.standby.as_mut()?.candidate.as_mut()?;
        let asks = candidate.works.is_none() && candidate.challenge.is_due(now);
        if !asks && candidate.answer.is_none() {
            return None;
        }
        let question = asks.then(|| self.secrets.draw(&self.integrity));
        if let Some(data) = question {
            candidate.challenge.on_sent(now, data);
        }
        Some(Letter {
            route: candidate.route,
            id: candidate.remote.id,
            answer: candidate.answer.take(),
            question,
            size_max: candidate.budget(side),
            padding: Padding::Full,
        })
    }

    /// To where the remote was before it seemed to move.
    fn question_letter(&mut self) -> Option<Letter> {
        let previous = self.standby.as_mut()?.previous.as_mut()?;
        if !std::mem::take(&mut previous.question_is_due) {
            return None;
        }
        Some(Letter {
            route: previous.route,
            id: previous.remote.id,
            answer: None,
            // Nobody waits for the answer: that a packet comes from there says it all.
            question: Some(self.secrets.draw(&self.integrity)),
            size_max: usize::MAX,
            padding: Padding::None,
        })
    }

    /// Fills a datagram; answers whether it may be sent. Nothing in it is repeated when it is
    /// lost, so it is not remembered.
    fn put_letter(&mut self, now: Instant, buf: &mut Vec<u8>, letter: &Letter) -> bool {
        if letter.size_max < LETTER_MIN || !self.can_seal(Level::Data) || !self.renew_keys(now) {
            return false;
        }
        let space = &self.spaces[Level::Data];
        let phase = self.data_keys.as_ref().map_or(KeyPhase::Even, crate::keys::DataKeys::phase);
        let draft = Draft::data(buf, letter.id, phase, space.next_number, space.largest_acked);
        if let Some(data) = letter.answer {
            put_path_response(buf, data);
        }
        if let Some(data) = letter.question {
            put_path_challenge(buf, data);
        }
        let end = letter.size_max.min(DATAGRAM_MIN.into()) - TAG_LEN;
        // The remote may need another name of ours to answer there.
        self.put_new_ids(buf, end);
        if letter.padding == Padding::Full {
            buf.resize(buf.len().max(end), 0);
        }
        self.seal(&draft, buf);
        true
    }

    fn address(&mut self, buf: &[u8], letter: &Letter) -> Transmit {
        if letter.route == self.path.route {
            return self.transmit_of(buf, None);
        }
        self.stats.bytes_sent += buf.len() as u64;
        if let Some(candidate) = self.candidate_at(letter.route) {
            candidate.sent += buf.len() as u64;
        }
        let Route { socket, remote } = letter.route;
        Transmit { socket, destination: remote, size: buf.len(), segment_size: None, ecn: None }
    }
}
