//! Who can take part: our transports, the yardsticks, and slowed copies of either.

use std::sync::OnceLock;

use portolan_baselines::BASELINES;
use portolan_subject::Subject;
use thiserror::Error;

use crate::bench::{ours::Ours, planted::Planted};

/// A subject lives as long as the program: both sides' threads hold it.
pub(crate) type SubjectRef = &'static dyn Subject;

/// Why a word names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum UnknownSubject {
    /// There is no such subject.
    #[error("there is no subject {name:?}; did you mean {suggestion:?}? (all: {all})")]
    Name { name: String, suggestion: String, all: String },
    /// A slowed copy with a share that makes no sense.
    #[error("{word:?} is no slowed subject: write NAME=20%, with a share of 0 to 90 percent")]
    Share { word: String },
}

/// Settings that differ only in congestion control, of which a network without loss shows nothing.
const OTHER_CONGESTION: &[&str] =
    &["udp-cubic", "udp-bbr", "raw-tcp-cubic", "raw-tcp-bbr", "quinn-bbr"];

/// Settings for one question, which take part only when they are named.
const ON_REQUEST: &[&str] = &["quinn-bbr-16m", "udp-fixed-100"];

/// Settings that differ only in packets longer than those of an emulated link.
const OTHER_SIZE: &[&str] = &["udp-1452"];

/// Everyone, ours first.
pub(crate) fn all() -> Vec<SubjectRef> {
    ours().into_iter().chain(Ours::tuned()).chain(BASELINES.iter().copied()).collect()
}

/// Everyone of whom this ground shows something of their own.
pub(crate) fn usual(emulated: bool) -> Vec<SubjectRef> {
    let alike = if emulated { OTHER_SIZE } else { OTHER_CONGESTION };
    let mut usual = all();
    let is_usual = |name| !alike.contains(&name) && !ON_REQUEST.contains(&name);
    usual.retain(|subject| is_usual(subject.name()));
    usual
}

fn ours() -> Vec<SubjectRef> {
    static OURS: OnceLock<Vec<Ours>> = OnceLock::new();
    OURS.get_or_init(|| Ours::shipped().collect()).iter().map(|ours| ours as SubjectRef).collect()
}

/// The subjects of a list such as `all`, `ours` or `udp,quinn`, each once, in that order.
pub(crate) fn choose(words: &[String]) -> Result<Vec<SubjectRef>, UnknownSubject> {
    let mut chosen: Vec<SubjectRef> = Vec::new();
    for word in words {
        let more = match word.as_str() {
            "all" => all(),
            "ours" => ours(),
            name => vec![find(name)?],
        };
        for subject in more {
            if chosen.iter().all(|other| other.name() != subject.name()) {
                chosen.push(subject);
            }
        }
    }
    Ok(chosen)
}

/// The subject of this name; `udp-20%` is `udp` slowed by that share.
pub(crate) fn find(name: &str) -> Result<SubjectRef, UnknownSubject> {
    if let Some(subject) = all().into_iter().find(|subject| subject.name() == name) {
        return Ok(subject);
    }
    match name.rsplit_once('-') {
        Some((original, share)) if share.ends_with('%') => plant(original, share, name),
        _ => Err(unknown(name)),
    }
}

/// A slowed copy from the words of `--plant`, `udp=20%`.
pub(crate) fn planted(word: &str) -> Result<(SubjectRef, SubjectRef), UnknownSubject> {
    let wrong = || UnknownSubject::Share { word: word.to_owned() };
    let (original, share) = word.split_once('=').ok_or_else(wrong)?;
    Ok((find(original)?, plant(original, share, word)?))
}

fn plant(original: &str, share: &str, word: &str) -> Result<SubjectRef, UnknownSubject> {
    let number = share.strip_suffix('%').unwrap_or(share).parse::<u32>();
    match number {
        Ok(percent @ 0..=90) => Ok(Box::leak(Box::new(Planted::new(find(original)?, percent)))),
        Ok(_) | Err(_) => Err(UnknownSubject::Share { word: word.to_owned() }),
    }
}

fn unknown(name: &str) -> UnknownSubject {
    let names: Vec<&str> = all().iter().map(|subject| subject.name()).collect();
    let nearest = names.iter().max_by(|one, other| {
        strsim::jaro_winkler(one, name).total_cmp(&strsim::jaro_winkler(other, name))
    });
    UnknownSubject::Name {
        name: name.to_owned(),
        suggestion: nearest.copied().unwrap_or_default().to_owned(),
        all: names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::{all, choose, find, planted};

    fn names(words: &[&str]) -> Vec<&'static str> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let chosen = choose(&words).expect("known names");
        chosen.iter().map(|subject| subject.name()).collect()
    }

    #[test]
    fn ours_are_the_table_of_transports_and_all_begins_with_them() {
        let schemes: Vec<_> = portolan::ALL_TRANSPORTS.iter().map(|t| t.scheme()).collect();
        assert_eq!(names(&["ours"]), schemes);
        assert!(names(&["all"]).starts_with(&schemes));
        assert_eq!(names(&["udp", "ours", "udp"]), ["udp", "tcp", "quic"]);
    }

    #[test]
    fn no_two_subjects_share_a_name() {
        let mut names: Vec<_> = all().iter().map(|subject| subject.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let error = find("quik").expect_err("no such subject").to_string();
        assert!(error.contains("did you mean \"quic\"?"), "{error}");
    }

    #[test]
    fn a_planted_subject_has_a_name_of_its_own_that_finds_it_again() {
        let (original, slowed) = planted("udp=20%").expect("a known subject");
        assert_eq!((original.name(), slowed.name()), ("udp", "udp-20%"));
        assert_eq!(find(slowed.name()).expect("by its own name").name(), "udp-20%");
        for wrong in ["udp", "udp=91%", "udp=much"] {
            assert!(planted(wrong).is_err(), "{wrong}");
        }
    }
}
