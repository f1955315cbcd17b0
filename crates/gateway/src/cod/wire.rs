//! Frames: a code of two digits, then fields of fixed width; texts and lists of members go on to
//! the end of the read.

use std::fmt;

/// Digits of an id.
pub(crate) const ID_LEN: usize = 13;
/// Digits of a time.
const TIME_LEN: usize = 10;
/// Characters of a text that the clients take.
pub(crate) const TEXT_MAX: usize = 218;
/// Members that one frame names.
pub(crate) const MEMBERS_MAX: usize = 64;

/// Thirteen digits: a user's begin with 0, a group's with 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; ID_LEN]);

impl Id {
    /// Reads exactly thirteen digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Self(digits))
    }

    /// The id with this first digit and this number behind it.
    pub(crate) fn new(first: char, number: u64) -> Option<Self> {
        Self::parse(&format!("{first}{:012}", number % 1_000_000_000_000))
    }

    /// As digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it is a group's.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.0.first() == Some(&b'1')
    }

    /// Whether it can be a user's.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.0.first() == Some(&b'0')
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// 01: give me an id.
    Register,
    /// 03: here I am.
    Login(Id),
    /// 05: a text to a user or a group.
    Text {
        /// Who says that it sends it.
        from: Id,
        /// To whom.
        to: Id,
        /// The rest.
        text: String,
    },
    /// 08: I have read what this one wrote.
    Read {
        /// Who wrote it.
        of: Id,
        /// When, in the client's words.
        time: String,
    },
    /// 10: a group of these.
    Group {
        /// When, in the client's words.
        time: String,
        /// Who is to be in it.
        members: Vec<Id>,
    },
    /// None of these.
    Wrong,
}

/// Reads everything that came at once. `me`: the client's id, by which texts are told from what
/// grew to their ends.
#[must_use]
pub fn parse(text: &str, me: Option<Id>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = text.trim_end_matches(['\r', '\n']);
    while !rest.is_empty() {
        let (frame, after) = next(rest, me);
        frames.push(frame);
        rest = after;
    }
    frames
}

fn next(text: &str, me: Option<Id>) -> (Frame, &str) {
    let wrong = (Frame::Wrong, "");
    let Some((code, body)) = text.split_at_checked(2) else { return wrong };
    match code {
        "01" => (Frame::Register, body),
        "03" => match id(body) {
            Some((id, rest)) => (Frame::Login(id), rest),
            None => wrong,
        },
        "08" => match id_and_time(body) {
            Some((of, time, rest)) => (Frame::Read { of, time: time.to_owned() }, rest),
            None => wrong,
        },
        "05" => text_frame(body, me).unwrap_or(wrong),
        "10" => group_frame(body, me).unwrap_or(wrong),
        _ => wrong,
    }
}

fn id(text: &str) -> Option<(Id, &str)> {
    let (digits, rest) = text.split_at_checked(ID_LEN)?;
    Some((Id::parse(digits)?, rest))
}

fn time(text: &str) -> Option<(&str, &str)> {
    let (digits, rest) = text.split_at_checked(TIME_LEN)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some((digits, rest))
}

fn id_and_time(text: &str) -> Option<(Id, &str, &str)> {
    let (id, rest) = id(text)?;
    let (time, rest) = time(rest)?;
    Some((id, time, rest))
}

fn text_frame(body: &str, me: Option<Id>) -> Option<(Frame, &str)> {
    let (from, rest) = id(body)?;
    let (to, rest) = id(rest)?;
    let (_time, rest) = time(rest)?;
    let end = rest.char_indices().map(|(at, _)| at).find(|at| is_own_frame(rest, *at, me));
    let (text, rest) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    Some((Frame::Text { from, to, text: text.to_owned() }, rest))
}

fn group_frame(body: &str, me: Option<Id>) -> Option<(Frame, &str)> {
    let (_creator, time, rest) = id_and_time(body)?;
    // Members are ids from end to end: a frame begins behind one of them, or nowhere.
    let end = (0..rest.len()).step_by(ID_LEN).find(|at| is_own_frame(rest, *at, me));
    let end = end.unwrap_or(rest.len());
    let (mut list, rest) = rest.split_at_checked(end)?;
    let mut members = Vec::new();
    while let Some((member, after)) = id(list).filter(|_| members.len() < MEMBERS_MAX) {
        members.push(member);
        list = after;
    }
    let frame = Frame::Group { time: time.to_owned(), members };
    Some((if list.is_empty() { frame } else { Frame::Wrong }, rest))
}

/// Whether another frame of this client begins there: its own id stands behind the code.
fn is_own_frame(text: &str, at: usize, me: Option<Id>) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let behind = rest.strip_prefix("05").or_else(|| rest.strip_prefix("10"));
    let is_own = me.zip(behind).is_some_and(|(me, behind)| behind.starts_with(me.as_str()));
    is_own && is_headed(rest)
}

/// Whether the fixed fields of a text or of a group are there.
fn is_headed(text: &str) -> bool {
    let digits = if text.starts_with("05") { 2 + 2 * ID_LEN } else { 2 + ID_LEN } + TIME_LEN;
    let head = text.as_bytes().get(..digits);
    head.is_some_and(|head| head.iter().all(u8::is_ascii_digit))
}

/// 02: your id.
pub(super) fn registered(id: Id) -> String {
    format!("02{id}")
}

/// 06: a text for you.
pub(super) fn text(from: Id, to: Id, seconds: u64, text: &str) -> String {
    format!("06{from}{to}{}{text}", time_field(seconds))
}

/// 07: your text is there.
pub(super) fn delivered(to: Id, seconds: u64) -> String {
    format!("07{to}{}", time_field(seconds))
}

/// 09: your texts were read.
pub(super) fn read(by: Id, time: &str) -> String {
    format!("09{by}{time}")
}

/// 11: you are in a group.
pub(super) fn joined(group: Id, time: &str, members: &[Id]) -> String {
    let members: String = members.iter().map(Id::as_str).collect();
    format!("11{group}{time}{members}")
}

/// Exactly ten digits.
pub(super) fn time_field(seconds: u64) -> String {
    format!("{:010}", seconds.min(9_999_999_999))
}

#[cfg(test)]
mod tests {
    use super::{Frame, Id, parse, time_field};

    const ME: &str = "0050452041144";
    const OTHER: &str = "0402047605385";

    fn id(text: &str) -> Id {
        Id::parse(text).unwrap()
    }

    fn text(words: &str) -> Frame {
        Frame::Text { from: id(ME), to: id(OTHER), text: words.to_owned() }
    }

    #[test]
    fn frames_are_read_as_they_were_seen() {
        assert_eq!(parse("01", None), [Frame::Register]);
        let login = Frame::Login(id(OTHER));
        assert_eq!(parse("030402047605385030402047605385", None), [login.clone(), login]);
        let said = "05005045204114404020476053851795240144olá bia, tudo bem? çãé";
        assert_eq!(parse(said, None), [text("olá bia, tudo bem? çãé")]);
        let read = Frame::Read { of: id(ME), time: "1795240146".into() };
        assert_eq!(parse("0800504520411441795240146", None), [read]);
        let group = Frame::Group { time: "1795240166".into(), members: vec![id(ME), id(OTHER)] };
        let said = "100050452041144179524016600504520411440402047605385";
        assert_eq!(parse(said, None), [group]);
    }

    #[test]
    fn what_grew_together_is_parted_at_the_clients_own_id() {
        let one = "05005045204114404020476053851795240144one";
        let two = "05005045204114404020476053851795240145two";
        let both = format!("{one}{two}");
        assert_eq!(parse(&both, Some(id(ME))), [text("one"), text("two")]);
        assert_eq!(parse(&both, None).len(), 1);
        // A text may have anything in it.
        let quoted = format!("{one} 05{ME} and so on");
        assert_eq!(parse(&quoted, Some(id(ME))).len(), 1);
    }

    #[test]
    fn an_id_that_ends_like_a_code_begins_no_frame() {
        for code in ["03", "05", "10"] {
            let odd = format!("04020476053{code}");
            let said = format!("10{ME}1795240166{odd}{ME}{OTHER}");
            let members = vec![id(&odd), id(ME), id(OTHER)];
            let group = Frame::Group { time: "1795240166".into(), members };
            assert_eq!(parse(&said, Some(id(ME))), std::slice::from_ref(&group));
            let both = format!("{said}05{ME}{OTHER}1795240144one");
            assert_eq!(parse(&both, Some(id(ME))), [group, text("one")]);
        }
    }

    #[test]
    fn nonsense_is_one_wrong_frame() {
        for wrong in [
            "0",
            "99",
            "03123",
            "080050452041144179524014x",
            "05",
            "0é",
            "é",
            "1000504520411441795240166005045204114",
        ] {
            assert_eq!(parse(wrong, None), [Frame::Wrong], "{wrong}");
        }
        assert_eq!(parse("\r\n", None), []);
    }

    #[test]
    fn times_have_ten_digits() {
        assert_eq!(time_field(7), "0000000007");
        assert_eq!(time_field(u64::MAX), "9999999999");
    }
}
