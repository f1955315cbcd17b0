//! The printed form: base32 in seven groups of eight, the last character of each group a check.
//!
//! 32 bytes are 52 base32 characters (RFC 4648 alphabet, lower case, no padding). They are cut
//! into four runs of 13, each followed by one Luhn mod 32 check character, which finds every
//! single wrong character and nearly every swap of neighbours; the 56 characters are then printed
//! as seven groups of eight. Reading forgives case, spaces and missing hyphens.

use data_encoding::{BASE32_NOPAD, Encoding};
use thiserror::Error;

use crate::PeerId;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const RUN: usize = 13;
const RUNS: usize = 4;
const GROUP: usize = 8;
const DIGITS: usize = RUNS * (RUN + 1);

/// Why a text is not a peer id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParsePeerIdError {
    /// Characters are missing or too many.
    #[error("a peer id has {DIGITS} letters and digits, this has {0}; copy it whole")]
    Length(usize),
    /// A character outside a-z and 2-7.
    #[error("a peer id has no {0:?}; it is written with a-z and 2-7 only")]
    Character(char),
    /// The check digit of a part does not fit.
    #[error("part {0} of 4 of this peer id has a typing error; compare it with the original")]
    Check(usize),
    /// The unused bits at the end are not zero, so the text is not what we print.
    #[error("the end of this peer id is damaged; compare it with the original")]
    Padding,
}

pub(crate) fn encode(key: &[u8; PeerId::LEN]) -> String {
    let digits = base32().encode(key);
    let mut checked = Vec::with_capacity(DIGITS);
    for run in digits.as_bytes().chunks(RUN) {
        checked.extend_from_slice(run);
        checked.push(check_digit(run));
    }
    let groups: Vec<String> =
        checked.chunks(GROUP).map(|group| group.iter().map(|&c| char::from(c)).collect()).collect();
    groups.join("-")
}

pub(crate) fn decode(text: &str) -> Result<[u8; PeerId::LEN], ParsePeerIdError> {
    // Bounded before anything is collected: the text may come from anywhere.
    let significant = || text.chars().filter(|c| !matches!(c, '-' | ' '));
    let length = significant().count();
    if length != DIGITS {
        return Err(ParsePeerIdError::Length(length));
    }
    let mut checked = Vec::with_capacity(DIGITS);
    for c in significant() {
        let lower = c.to_ascii_lowercase();
        let byte = u8::try_from(lower).ok().filter(|byte| ALPHABET.contains(byte));
        checked.push(byte.ok_or(ParsePeerIdError::Character(c))?);
    }
    let mut digits = Vec::with_capacity(RUNS * RUN);
    for (index, run) in checked.chunks(RUN + 1).enumerate() {
        let (data, check) = run.split_at(RUN);
        if check != [check_digit(data)] {
            return Err(ParsePeerIdError::Check(index + 1));
        }
        digits.extend_from_slice(data);
    }
    let bytes = base32().decode(&digits).map_err(|_| ParsePeerIdError::Padding)?;
    bytes.try_into().map_err(|_| ParsePeerIdError::Padding)
}

/// Luhn mod N (ISO/IEC 7812-1 annex B, generalised) with N = 32, weights from the right.
fn check_digit(run: &[u8]) -> u8 {
    let sum: usize = run
        .iter()
        .rev()
        .enumerate()
        .map(|(index, c)| {
            let value = ALPHABET.iter().position(|a| a == c).unwrap_or_default();
            let weighted = if index % 2 == 0 { value * 2 } else { value };
            weighted / 32 + weighted % 32
        })
        .sum();
    ALPHABET[(32 - sum % 32) % 32]
}

fn base32() -> Encoding {
    let mut lower = BASE32_NOPAD.specification();
    lower.symbols = String::from_utf8_lossy(ALPHABET).into_owned();
    lower.encoding().unwrap_or(BASE32_NOPAD)
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, ParsePeerIdError, decode, encode};
    use crate::PeerId;

    fn key() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap())
    }

    #[test]
    fn a_printed_id_reads_back_as_the_same_key() {
        let text = encode(&key());
        assert_eq!(decode(&text), Ok(key()));
        assert_eq!(text.len(), 7 * 8 + 6);
        assert_eq!(text.parse::<PeerId>().unwrap().to_string(), text);
    }

    #[test]
    fn case_spaces_and_missing_hyphens_are_forgiven() {
        let text = encode(&key()).replace('-', " ").to_uppercase();
        assert_eq!(decode(&text), Ok(key()));
    }

    #[test]
    fn every_single_wrong_character_is_found() {
        let text = encode(&key());
        for (index, original) in text.bytes().enumerate().filter(|(_, c)| *c != b'-') {
            for &wrong in ALPHABET.iter().filter(|c| **c != original) {
                let mut bytes = text.clone().into_bytes();
                bytes[index] = wrong;
                let typed = String::from_utf8(bytes).unwrap();
                assert!(decode(&typed).is_err(), "{typed} passed for {text}");
            }
        }
    }

    #[test]
    fn swapped_neighbours_are_found() {
        let digits: Vec<u8> = encode(&key()).bytes().filter(|c| *c != b'-').collect();
        for i in 0..digits.len() - 1 {
            let mut swapped = digits.clone();
            swapped.swap(i, i + 1);
            let pair = [digits[i], digits[i + 1]];
            // Luhn's known blind spot: the first and the last symbol of the alphabet.
            if pair[0] == pair[1] || pair == *b"a7" || pair == *b"7a" {
                continue;
            }
            assert!(decode(&String::from_utf8(swapped).unwrap()).is_err(), "swap at {i}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(decode("abc"), Err(ParsePeerIdError::Length(3)));
        let text = encode(&key());
        assert_eq!(decode(&text.replacen('a', "!", 1)), Err(ParsePeerIdError::Character('!')));
        assert_eq!(decode(&"é".repeat(56)), Err(ParsePeerIdError::Character('é')));
    }
}
