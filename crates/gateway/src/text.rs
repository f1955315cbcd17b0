//! Texts that must not be longer than a client's buffer.

/// Cuts a text into pieces of at most `chars` characters and `bytes` bytes each; an empty text is
/// one empty piece.
pub(crate) fn pieces(text: &str, chars: usize, bytes: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut count) = (0, 0);
    for (at, letter) in text.char_indices() {
        if at > start && (count >= chars || at + letter.len_utf8() - start > bytes) {
            pieces.extend(text.get(start..at));
            (start, count) = (at, 0);
        }
        count += 1;
    }
    pieces.extend(text.get(start..));
    pieces
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_whole_characters_and_all_of_the_text() {
        assert_eq!(pieces("", 3, 9), [""]);
        assert_eq!(pieces("abcdefg", 3, 9), ["abc", "def", "g"]);
        assert_eq!(pieces("ééé", 9, 4), ["éé", "é"]);
        assert_eq!(pieces("ab", 2, 2), ["ab"]);
        // A character that is larger than the bound still goes somewhere.
        assert_eq!(pieces("€€", 9, 2), ["€", "€"]);
    }
}
