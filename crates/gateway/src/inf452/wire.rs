//! What clients of `inf452` say to the directory, and what peers say to each other.

/// An instruction for the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// `USER nome:porta`: who I am, and where I listen for other peers.
    User {
        /// The name.
        name: &'a str,
        /// The port.
        port: u16,
    },
    /// `KEEP`: I am there.
    Keep,
    /// `LIST`: who else is there?
    List,
    /// `ADDR nome`: where is this one?
    Addr(&'a str),
    /// `DISC`: goodbye.
    Disc,
}

/// Reads an instruction; `None`: there is none such.
#[must_use]
pub fn read(line: &str) -> Option<Instruction<'_>> {
    let line = line.trim();
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    Some(match (word, rest.is_empty()) {
        ("USER", false) => {
            let (name, port) = rest.rsplit_once(':')?;
            let (name, port) = (name.trim(), port.trim().parse().ok()?);
            // A name has no colon: lists are separated by them.
            if name.is_empty() || name.contains(':') || port == 0 {
                return None;
            }
            Instruction::User { name, port }
        }
        ("KEEP", true) => Instruction::Keep,
        ("LIST", true) => Instruction::List,
        ("ADDR", false) => Instruction::Addr(rest),
        ("DISC", true) => Instruction::Disc,
        _ => return None,
    })
}

/// What a peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerWord<'a> {
    /// `USER nome`: who calls, said first.
    User(&'a str),
    /// `DISC` or `/bye`: the end.
    End,
    /// Words.
    Text(&'a str),
}

/// Reads what a peer says; any text is something.
#[must_use]
pub fn read_peer(message: &str, is_first: IsFirst) -> PeerWord<'_> {
    let trimmed = message.trim();
    match (is_first, trimmed.strip_prefix("USER ")) {
        (IsFirst::Yes, Some(name)) => PeerWord::User(name.trim()),
        (IsFirst::Yes | IsFirst::No, _) if matches!(trimmed, "DISC" | "/bye" | "/disc") => {
            PeerWord::End
        }
        (IsFirst::Yes | IsFirst::No, _) => PeerWord::Text(trimmed),
    }
}

/// Whether nothing has been said on a connection before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsFirst {
    /// It begins here.
    Yes,
    /// It goes on.
    No,
}

#[cfg(test)]
mod tests {
    use super::{Instruction, IsFirst, PeerWord, read, read_peer};

    #[test]
    fn instructions_are_read_as_the_old_clients_write_them() {
        let user = |name, port| Some(Instruction::User { name, port });
        for (line, instruction) in [
            ("USER Ana:43577", user("Ana", 43_577)),
            ("USER Ana Maria: 5000", user("Ana Maria", 5_000)),
            ("KEEP", Some(Instruction::Keep)),
            ("LIST", Some(Instruction::List)),
            ("LIST ", Some(Instruction::List)),
            ("ADDR Ana Maria", Some(Instruction::Addr("Ana Maria"))),
            ("DISC", Some(Instruction::Disc)),
            ("USER Ana", None),
            ("USER :1", None),
            ("USER a:b:1", None),
            ("USER Ana:0", None),
            ("USER Ana:99999", None),
            ("ADDR", None),
            ("KEEP it", None),
            ("list", None),
            ("", None),
        ] {
            assert_eq!(read(line), instruction, "{line}");
        }
    }

    #[test]
    fn peers_say_who_they_are_first_and_only_then() {
        assert_eq!(read_peer("USER Ana", IsFirst::Yes), PeerWord::User("Ana"));
        assert_eq!(read_peer("USER Ana", IsFirst::No), PeerWord::Text("USER Ana"));
        assert_eq!(read_peer("oi", IsFirst::Yes), PeerWord::Text("oi"));
        assert_eq!(read_peer("/bye", IsFirst::No), PeerWord::End);
        assert_eq!(read_peer("DISC\r", IsFirst::Yes), PeerWord::End);
    }
}
