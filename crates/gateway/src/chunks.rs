//! Messages of those who may or may not end them: one read is one message, or one line is.

use crate::line_buffer::{Line, LineBuffer};

/// Finds messages in what is read, and answers as it is spoken to.
///
/// Until a line end has come, every read is a message. From then on only whole lines are.
#[derive(Debug)]
pub struct Chunks {
    lines: LineBuffer,
    end: End,
}

/// How the other ends messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Nothing,
    Newline,
    Crlf,
}

impl Chunks {
    /// Messages of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { lines: LineBuffer::new(max), end: End::Nothing }
    }

    /// Takes a read, and gives the messages that it ends; empty ones are left out.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Line)) {
        if self.end == End::Nothing {
            self.end = end_of(bytes);
        }
        self.lines.push(bytes, |line| give(line, &mut found));
        if self.end == End::Nothing
            && let Some(rest) = self.lines.rest()
        {
            give(rest, &mut found);
        }
    }

    /// What our messages end with: what theirs do.
    #[must_use]
    pub fn end(&self) -> &'static str {
        match self.end {
            End::Nothing => "",
            End::Newline => "\n",
            End::Crlf => "\r\n",
        }
    }
}

fn end_of(bytes: &[u8]) -> End {
    match bytes.iter().position(|byte| *byte == b'\n') {
        None => End::Nothing,
        Some(at) if bytes.get(..at).is_some_and(|line| line.ends_with(b"\r")) => End::Crlf,
        Some(_) => End::Newline,
    }
}

fn give(line: Line, found: &mut impl FnMut(Line)) {
    if line != Line::Text(String::new()) {
        found(line);
    }
}

#[cfg(test)]
mod tests {
    use super::Chunks;
    use crate::line_buffer::Line;

    fn push(chunks: &mut Chunks, bytes: &[u8]) -> Vec<Line> {
        let mut all = Vec::new();
        chunks.push(bytes, |line| all.push(line));
        all
    }

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    #[test]
    fn a_read_is_a_message_for_those_who_never_end_one() {
        let mut chunks = Chunks::new(9);
        assert_eq!(push(&mut chunks, b"one"), [text("one")]);
        assert_eq!(push(&mut chunks, b"two"), [text("two")]);
        assert_eq!(chunks.end(), "");
        assert_eq!(push(&mut chunks, b"0123456789"), [Line::TooLong]);
        assert_eq!(push(&mut chunks, b"three"), [text("three")]);
    }

    #[test]
    fn lines_are_put_together_for_those_who_end_them() {
        let mut chunks = Chunks::new(9);
        assert_eq!(push(&mut chunks, b"one\r\n\r\ntw"), [text("one")]);
        assert_eq!(chunks.end(), "\r\n");
        assert_eq!(push(&mut chunks, b"o\nthree\n"), [text("two"), text("three")]);
        assert_eq!(push(&mut Chunks::new(9), b"a\n"), [text("a")]);
    }
}
