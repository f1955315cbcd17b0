//! Names of old programs in the server's directory, and back.
//!
//! A name that the server allows stays as it is. Every other one is written `x.` and then letter
//! by letter: letters, digits, `-` and `_` as they are, anything else as its code point in
//! hexadecimal between two dots, so that `ana maria` is `x.ana.20.maria`. Both ways are exact.

use std::fmt::Write;

use portolan_peer_id::PeerId;
use portolan_protocol::{Name, NameError};

/// What a written-out name begins with.
const MARK: &str = "x.";

/// The name in the server's directory of one whom an old program calls so.
///
/// # Errors
/// [`NameError`] when it is empty, or too long even so.
pub fn to_native(legacy: &str) -> Result<Name, NameError> {
    if legacy.is_empty() {
        return Err(NameError::Empty);
    }
    // What can be read as a written-out name must be written out itself, or two would meet.
    match Name::new(legacy) {
        Ok(name) if read_out(name.as_str()).is_none() => Ok(name),
        Ok(_) | Err(NameError::Character(_) | NameError::First | NameError::Reserved(_)) => {
            Name::new(&write_out(legacy))
        }
        Err(error @ (NameError::Empty | NameError::TooLong)) => Err(error),
    }
}

/// What an old program is told of a name in the server's directory.
#[must_use]
pub fn shown(name: &Name) -> String {
    read_out(name.as_str()).unwrap_or_else(|| name.as_str().to_owned())
}

/// The id of the user of this name who comes by a gateway.
///
/// It has the form of a key, and nobody holds its secret: the name belongs to gateways, and no
/// client of another kind can take it or be taken for it.
#[must_use]
pub fn legacy_id(server: PeerId, name: &Name) -> PeerId {
    let mut hasher = blake3::Hasher::new_derive_key("portolan 2026-11 user of a gateway");
    hasher.update(server.as_bytes());
    hasher.update(name.key().as_bytes());
    PeerId::from_bytes(*hasher.finalize().as_bytes())
}

fn write_out(legacy: &str) -> String {
    let mut text = MARK.to_owned();
    for letter in legacy.chars() {
        if letter.is_alphanumeric() || "-_".contains(letter) {
            text.push(letter);
        } else {
            let _fits = write!(text, ".{:x}.", u32::from(letter));
        }
    }
    text
}

/// The name that was written out so; `None`: none was.
fn read_out(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(MARK)?;
    let mut legacy = String::new();
    while let Some(letter) = rest.chars().next() {
        match rest.strip_prefix('.') {
            None => {
                legacy.push(letter);
                rest = rest.get(letter.len_utf8()..)?;
            }
            Some(after) => {
                let (code, after) = after.split_once('.')?;
                legacy.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                rest = after;
            }
        }
    }
    // What it reads out is shorter, so this ends.
    let needs_it = Name::new(&legacy).map_or(true, |_| read_out(&legacy).is_some());
    (!legacy.is_empty() && needs_it && write_out(&legacy) == name).then_some(legacy)
}

#[cfg(test)]
mod tests {
    use portolan_peer_id::PeerId;
    use portolan_protocol::{Name, NameError};

    use super::{legacy_id, shown, to_native};

    #[test]
    fn names_go_there_and_back() {
        for (legacy, native) in [
            ("ana", "ana"),
            ("0050452041144", "0050452041144"),
            ("ana maria", "x.ana.20.maria"),
            ("server", "x.server"),
            ("-a", "x.-a"),
            ("x.", "x."),
            ("x.foo", "x.foo"),
            ("x.ana.20.maria", "x.x.2e.ana.2e.20.2e.maria"),
            ("a|b", "x.a.7c.b"),
            ("joão", "joão"),
        ] {
            let name = to_native(legacy).unwrap();
            assert_eq!(name.as_str(), native);
            assert_eq!(shown(&name), legacy);
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        assert_eq!(to_native(""), Err(NameError::Empty));
        assert_eq!(to_native(&"n".repeat(33)), Err(NameError::TooLong));
        assert_eq!(to_native(&" ".repeat(9)), Err(NameError::TooLong));
    }

    #[test]
    fn native_names_are_shown_as_they_are() {
        for text in ["alice", "x.foo", "x.x.2e.foo", "x.ana.zz.b", "X.server", "x.ana"] {
            assert_eq!(shown(&Name::new(text).unwrap()), text);
        }
    }

    #[test]
    fn ids_differ_by_name_and_server_and_not_by_case() {
        let (one, other) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        let id = |server, name: &str| legacy_id(server, &Name::new(name).unwrap());
        assert_eq!(id(one, "Ana"), id(one, "ana"));
        assert_ne!(id(one, "ana"), id(one, "bia"));
        assert_ne!(id(one, "ana"), id(other, "ana"));
    }
}
