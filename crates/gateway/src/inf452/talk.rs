//! What an old client and one who is no client of this gateway say to each other.

use std::{collections::VecDeque, net::SocketAddr};

use portolan_protocol::{Delivery, MessageId, Recipient};

use super::wire::{IsFirst, PeerWord, read_peer};
use crate::{
    bridge::{Call, Door},
    chunks::Chunks,
    line_buffer::Line,
};

/// Texts that wait for the client to be reached; the server keeps more of them.
const TEXTS_MAX: usize = 64;
/// Bytes of a message between peers.
const MESSAGE_MAX: usize = 64 << 10;

/// How far a connection between the client and us has come.
#[derive(Debug)]
enum Connection {
    None,
    /// We call the client.
    Dialling(Call),
    Up(Call, Chunks, IsFirst),
}

/// One talk: a port for the client to call, a connection, and what waits for it.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) door: Option<Door>,
    pub(super) address: Option<SocketAddr>,
    line: Connection,
    texts: VecDeque<Delivery>,
}

/// What the client has said in a talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Under this name.
    Name(String),
    Text(String),
    End,
}

impl Default for Talk {
    fn default() -> Self {
        Self { door: None, address: None, line: Connection::None, texts: VecDeque::new() }
    }
}

impl Talk {
    /// The connection that stands or is being made.
    pub(super) fn call(&self) -> Option<Call> {
        match self.line {
            Connection::None => None,
            Connection::Dialling(call) | Connection::Up(call, ..) => Some(call),
        }
    }

    /// Whether nothing is left of it.
    pub(super) fn is_over(&self) -> bool {
        self.door.is_none() && self.call().is_none()
    }

    pub(super) fn dial(&mut self, call: Call) {
        self.line = Connection::Dialling(call);
    }

    pub(super) fn stand(&mut self, call: Call) {
        self.line = Connection::Up(call, Chunks::new(MESSAGE_MAX), IsFirst::Yes);
    }

    /// The connection has ended; what waited for it goes on waiting with the server.
    pub(super) fn end(&mut self) {
        self.line = Connection::None;
        self.texts.clear();
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        if self.texts.len() < TEXTS_MAX {
            self.texts.push_back(delivery);
        }
    }

    /// The next that can be written, and which message it is.
    pub(super) fn pop(&mut self) -> Option<(Call, MessageId, String)> {
        let Connection::Up(call, chunks, _) = &self.line else { return None };
        let delivery = self.texts.pop_front()?;
        let end = if chunks.end().is_empty() { "\r\n" } else { chunks.end() };
        let text = delivery.text.replace(['\r', '\n'], " ");
        let text = match &delivery.to {
            Recipient::User(_) => text,
            Recipient::Group(group) => format!("[#{group}] {text}"),
            Recipient::All | Recipient::Others => format!("[todos] {text}"),
        };
        Some((*call, delivery.id, text + end))
    }

    /// Takes what was read.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let Connection::Up(_, chunks, is_first) = &mut self.line else { return Vec::new() };
        let mut heard = Vec::new();
        chunks.push(bytes, |line| {
            heard.push(match line {
                Line::TooLong => Heard::End,
                Line::Text(message) => match read_peer(&message, *is_first) {
                    PeerWord::User(name) => Heard::Name(name.to_owned()),
                    PeerWord::End => Heard::End,
                    PeerWord::Text(text) => Heard::Text(text.to_owned()),
                },
            });
            *is_first = IsFirst::No;
        });
        heard
    }
}
