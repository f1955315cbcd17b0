//! JSON as the old programs write it: Python's spaces, and nothing but ASCII.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// `", "` between members, `": "` behind keys, `\uXXXX` for everything beyond ASCII.
#[derive(Debug, Default)]
struct Python(CompactFormatter);

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for letter in fragment.chars() {
            if letter.is_ascii() {
                self.0.write_string_fragment(to, letter.encode_utf8(&mut [0; 4]))?;
                continue;
            }
            for unit in letter.encode_utf16(&mut units) {
                write!(to, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// The line of an object, with its end.
pub(super) fn line(object: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = object.serialize(&mut Serializer::with_formatter(&mut bytes, Python::default()));
    debug_assert!(written.is_ok(), "objects of ours have keys that are strings");
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::line;

    #[test]
    fn objects_are_written_as_python_does() {
        let object = json!({ "a": [1, 2], "b": "olá 𝄞\n\"", "c": {} });
        let text = String::from_utf8(line(&object)).unwrap();
        assert_eq!(
            text,
            "{\"a\": [1, 2], \"b\": \"ol\\u00e1 \\ud834\\udd1e\\n\\\"\", \"c\": {}}\r\n"
        );
    }
}
