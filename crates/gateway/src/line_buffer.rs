//! Lines out of a stream of bytes.

/// Collects bytes and gives lines, each without its end (`\n` or `\r\n`).
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    line_max: usize,
    is_skipping: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line; bytes that are no UTF-8 are replaced.
    Text(String),
    /// One that was longer than allowed; it is left out.
    TooLong,
}

impl LineBuffer {
    /// Lines of at most `line_max` bytes.
    #[must_use]
    pub fn new(line_max: usize) -> Self {
        Self { bytes: Vec::new(), line_max, is_skipping: false }
    }

    /// Takes bytes and appends the lines that they end to `lines`. At most `line_max` bytes of an
    /// unfinished line are kept.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Line)) {
        let mut parts = bytes.split(|byte| *byte == b'\n');
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            if self.keep(part) {
                let line = std::mem::take(&mut self.bytes);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                found(Line::Text(String::from_utf8_lossy(line).into_owned()));
            } else {
                found(Line::TooLong);
            }
            self.bytes.clear();
            self.is_skipping = false;
        }
        self.keep(last);
    }

    /// What has come of a line that has no end.
    #[must_use]
    pub fn rest(&mut self) -> Option<Line> {
        if std::mem::take(&mut self.is_skipping) {
            return Some(Line::TooLong);
        }
        let rest = std::mem::take(&mut self.bytes);
        (!rest.is_empty()).then(|| Line::Text(String::from_utf8_lossy(&rest).into_owned()))
    }

    /// Whether the line still has its place.
    fn keep(&mut self, part: &[u8]) -> bool {
        if self.is_skipping || self.bytes.len() + part.len() > self.line_max {
            self.is_skipping = true;
            self.bytes = Vec::new();
            return false;
        }
        self.bytes.extend_from_slice(part);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, LineBuffer};

    fn lines(buffer: &mut LineBuffer, bytes: &[u8]) -> Vec<Line> {
        let mut all = Vec::new();
        buffer.push(bytes, |line| all.push(line));
        all
    }

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut buffer = LineBuffer::new(9);
        assert_eq!(lines(&mut buffer, b"KEEP\r\nLI"), [text("KEEP")]);
        assert_eq!(lines(&mut buffer, b"ST\n\n"), [text("LIST"), text("")]);
        assert_eq!(lines(&mut buffer, b"end"), []);
        assert_eq!(buffer.rest(), Some(text("end")));
        assert_eq!(buffer.rest(), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_is_not() {
        let mut buffer = LineBuffer::new(4);
        for _ in 0..1_000 {
            assert_eq!(lines(&mut buffer, &[b'a'; 1_000]), []);
            assert!(buffer.bytes.capacity() <= 8);
        }
        assert_eq!(
            lines(&mut buffer, b"a\nok\n12345\n"),
            [Line::TooLong, text("ok"), Line::TooLong]
        );
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(lines(&mut LineBuffer::new(9), b"a\xffb\n"), [text("a\u{fffd}b")]);
    }
}
