//! What a file says of itself, cleaned.

use std::time::Duration;

use symphonia::core::{
    formats::FormatReader,
    meta::{MetadataRevision, RawValue, StandardTag, Tag},
};

/// Characters of a title, an artist or an album.
const WORDS_MAX: usize = 120;
/// Tags that are looked at.
const TAGS_MAX: usize = 512;

/// What a file says of itself. Words are at most 120 characters without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Its title.
    pub title: Option<String>,
    /// Who plays.
    pub artist: Option<String>,
    /// Where it belongs.
    pub album: Option<String>,
    /// How long the sound is, where the file says so.
    pub duration: Option<Duration>,
    /// Samples a second and channel.
    pub rate: u32,
    /// How many channels.
    pub channels: u16,
    /// The codec in one word, such as `mp3`.
    pub codec: &'static str,
    /// First sample and number of samples that are sound, by iTunes' tag.
    pub(super) gapless: Option<(u32, u64)>,
}

impl Info {
    pub(super) fn of(format: &mut dyn FormatReader, codec: &'static str) -> Self {
        let mut info = Self { codec, ..Self::default() };
        if let Some(revision) = format.metadata().skip_to_latest() {
            for tag in tags(revision) {
                info.note(tag);
            }
        }
        info
    }

    /// Takes the place of the sound from iTunes' tag of MP4 files, where there is one.
    pub(super) fn gapless_from_tags(&mut self, format: &mut dyn FormatReader) {
        let mut metadata = format.metadata();
        let Some(revision) = metadata.skip_to_latest() else { return };
        let found = tags(revision).find_map(|tag| match &tag.raw.value {
            RawValue::String(value) if tag.raw.key.ends_with("iTunSMPB") => itunes(value),
            _ => None,
        });
        self.gapless = found;
    }

    fn note(&mut self, tag: &Tag) {
        let Some(standard) = &tag.std else { return };
        let (place, words) = match standard {
            StandardTag::TrackTitle(words) => (&mut self.title, words),
            StandardTag::Artist(words) => (&mut self.artist, words),
            StandardTag::Album(words) => (&mut self.album, words),
            _ => return,
        };
        if place.is_none() {
            *place = cleaned(words);
        }
    }
}

fn tags(revision: &MetadataRevision) -> impl Iterator<Item = &Tag> {
    let per_track = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
    revision.media.tags.iter().chain(per_track).take(TAGS_MAX)
}

/// Words that may be shown; none if nothing is left.
fn cleaned(words: &str) -> Option<String> {
    let shown = words.chars().filter(|c| !c.is_control() && !is_direction(*c));
    let shown: String = shown.take(WORDS_MAX).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Characters that turn what stands around them (Unicode, UAX 9).
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Zero, delay, padding and length as hexadecimal numbers.
fn itunes(value: &str) -> Option<(u32, u64)> {
    let mut numbers = value.split_whitespace().skip(1).map(|word| u64::from_str_radix(word, 16));
    let delay = u32::try_from(numbers.next()?.ok()?).ok()?;
    let length = numbers.nth(1)?.ok()?;
    (length > 0).then_some((delay, length))
}

#[cfg(test)]
mod tests {
    use super::{WORDS_MAX, cleaned, itunes};

    #[test]
    fn words_are_short_and_change_nothing_around_them() {
        assert_eq!(cleaned("  a\u{202e}b\u{1b}[31m \n"), Some("ab[31m".to_owned()));
        assert_eq!(cleaned(" \u{7} "), None);
        assert_eq!(cleaned(&"ä".repeat(10_000)).unwrap().chars().count(), WORDS_MAX);
    }

    #[test]
    fn itunes_tells_delay_and_length() {
        let tag = " 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000";
        assert_eq!(itunes(tag), Some((0x840, 0x3f_31f6)));
        for broken in ["", " 0 0", " 0 zz 0 0", " 0 1 2 0"] {
            assert_eq!(itunes(broken), None, "{broken}");
        }
    }
}
