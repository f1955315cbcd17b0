//! A chat between two old clients, where one of them is us: `CONNECT`, `SEND_CHAT`, `QUIT`.
//!
//! The last version of the old client knows no more than an echo: it says `hello, world!`, or
//! sends back what it hears. That is understood too: then every read is a text.

use std::collections::VecDeque;

use serde::Serialize;

use super::{json, wire};
use crate::{
    line_buffer::{Line, LineBuffer},
    text::pieces,
};

/// Texts that wait for the reply to the one before; more are lost.
const WAITING_MAX: usize = 64;

const SEND: &str = "SEND_CHAT ";

/// How the other speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing has been heard.
    Unknown,
    /// Lines, each of which is answered.
    Lines,
    /// It sends back what we say.
    Echo,
    /// We send back what it says.
    Echoed,
}

/// What a chat wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Write this.
    Write(Vec<u8>),
    /// The human has said this.
    Text(String),
    /// It is over.
    Over,
}

/// One chat.
#[derive(Debug)]
pub(super) struct Chat {
    manner: Manner,
    lines: LineBuffer,
    /// A line of ours has no reply yet.
    is_waiting: bool,
    texts: VecDeque<String>,
    outcomes: VecDeque<Outcome>,
}

impl Chat {
    fn new(is_waiting: bool) -> Self {
        Self {
            manner: Manner::Unknown,
            lines: LineBuffer::new(wire::LINE_MAX),
            is_waiting,
            texts: VecDeque::new(),
            outcomes: VecDeque::new(),
        }
    }

    /// One that we begin.
    pub(super) fn begun() -> Self {
        let mut chat = Self::new(true);
        chat.write("CONNECT\r\n");
        chat
    }

    /// One that the other begins.
    pub(super) fn answered() -> Self {
        Self::new(false)
    }

    /// Says something, as soon as it may.
    pub(super) fn say(&mut self, text: &str) {
        let lines = text.lines().flat_map(|line| pieces(line, usize::MAX, wire::LINE_MAX - 16));
        for line in lines.filter(|line| !line.is_empty()) {
            if self.texts.len() < WAITING_MAX {
                self.texts.push_back(line.to_owned());
            }
        }
        self.go_on();
    }

    /// Takes what was read.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if self.manner == Manner::Unknown {
            self.manner = match (bytes, self.is_waiting) {
                ([b'{', ..], true) => Manner::Lines,
                (_, true) => Manner::Echo,
                ([b'C', b'O', b'N', b'N', b'E', b'C', b'T', ..], false) => Manner::Lines,
                (_, false) => Manner::Echoed,
            };
        }
        match self.manner {
            Manner::Unknown | Manner::Echo => self.is_waiting = false,
            Manner::Echoed => {
                self.outcomes.push_back(Outcome::Write(bytes.to_vec()));
                let text = String::from_utf8_lossy(bytes).trim().to_owned();
                self.outcomes.push_back(Outcome::Text(text));
            }
            Manner::Lines => {
                let mut all = Vec::new();
                self.lines.push(bytes, |line| all.push(line));
                all.into_iter().for_each(|line| self.on_line(line));
            }
        }
        self.go_on();
    }

    fn on_line(&mut self, line: Line) {
        let Line::Text(line) = line else { return self.outcomes.push_back(Outcome::Over) };
        let word = line.split(' ').next().unwrap_or_default();
        match (word, line.strip_prefix(SEND)) {
            (_, Some(text)) => {
                self.outcomes.push_back(Outcome::Text(text.to_owned()));
                self.write(wire::state("connected"));
            }
            ("CONNECT", None) => self.write(wire::state("connected")),
            ("REQUEST_FILE_TRANSFER", None) => self.write(no_file()),
            ("QUIT", None) => self.outcomes.push_back(Outcome::Over),
            (_, None) if wire::is_reply(&line) => self.is_waiting = false,
            (_, None) => {
                let message = "Invalid or unknown command";
                self.write(wire::error("INVALID_COMMAND", message, "connected"));
            }
        }
    }

    fn go_on(&mut self) {
        while !self.is_waiting
            && self.manner != Manner::Unknown
            && let Some(text) = self.texts.pop_front()
        {
            if self.manner == Manner::Lines {
                self.is_waiting = true;
                self.write(format!("{SEND}{text}\r\n"));
            } else {
                self.write(text);
            }
        }
    }

    fn write(&mut self, bytes: impl Into<Vec<u8>>) {
        self.outcomes.push_back(Outcome::Write(bytes.into()));
    }

    pub(super) fn poll(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }
}

/// There is nobody on this side who could take a file.
fn no_file() -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        state: &'a str,
        result: &'a str,
    }
    json::line(&Reply { state: "connected", result: "rejected" })
}

#[cfg(test)]
mod tests {
    use super::{Chat, Outcome};

    fn all(chat: &mut Chat) -> Vec<Outcome> {
        std::iter::from_fn(|| chat.poll()).collect()
    }

    fn write(text: &str) -> Outcome {
        Outcome::Write(text.into())
    }

    fn text(text: &str) -> Outcome {
        Outcome::Text(text.into())
    }

    const CONNECTED: &str = "{\"state\": \"connected\"}\r\n";

    #[test]
    fn lines_are_answered_and_ours_wait_for_their_answer() {
        let mut chat = Chat::answered();
        chat.hear(b"CONNECT\r\nSEND_CHAT oi, tudo bem?\r\n");
        assert_eq!(all(&mut chat), [write(CONNECTED), text("oi, tudo bem?"), write(CONNECTED)]);
        chat.say("one\ntwo");
        assert_eq!(all(&mut chat), [write("SEND_CHAT one\r\n")]);
        chat.hear(CONNECTED.as_bytes());
        assert_eq!(all(&mut chat), [write("SEND_CHAT two\r\n")]);
        chat.hear(b"REQUEST_FILE_TRANSFER a.txt text/plain 1 1200 512\r\nQUIT\r\n");
        let rejected = write("{\"state\": \"connected\", \"result\": \"rejected\"}\r\n");
        assert_eq!(all(&mut chat), [rejected, Outcome::Over]);
    }

    #[test]
    fn one_that_we_begin_waits_for_the_other() {
        let mut chat = Chat::begun();
        chat.say("oi");
        assert_eq!(all(&mut chat), [write("CONNECT\r\n")]);
        chat.hear(CONNECTED.as_bytes());
        assert_eq!(all(&mut chat), [write("SEND_CHAT oi\r\n")]);
    }

    #[test]
    fn programs_that_only_echo_are_understood() {
        let mut chat = Chat::answered();
        chat.hear(b"hello, world!");
        assert_eq!(all(&mut chat), [write("hello, world!"), text("hello, world!")]);
        let mut chat = Chat::begun();
        chat.say("oi");
        chat.hear(b"CONNECT\r\n");
        assert_eq!(all(&mut chat), [write("CONNECT\r\n"), write("oi")]);
        chat.hear(b"oi");
        assert_eq!(all(&mut chat), []);
    }

    #[test]
    fn a_line_without_an_end_is_the_end() {
        let mut chat = Chat::answered();
        chat.hear(b"CONNECT\r\n");
        for _ in 0..100 {
            chat.hear(&[b'a'; 1_000]);
        }
        chat.hear(b"\r\n");
        assert_eq!(all(&mut chat).last(), Some(&Outcome::Over));
    }
}
