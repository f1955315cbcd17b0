//! What is heard in shared files, for their list: looked at lazily, and remembered.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use portolan_media::{Decoder, Info, Seeking};
use portolan_protocol::{AudioInfo, FileInfo, Limits};

use super::{Share, Stamp};

/// Files that are remembered; with more, all are looked at anew some time.
const KNOWN_MAX: usize = 4_096;
/// Files of one page that are opened for it; the others say nothing of their sound until the list
/// is asked for again.
const LOOKS_MAX: usize = 64;
/// Bytes of a page for all of this together, so that it still fits into a frame.
const PAGE_BYTES: usize = Limits::V1.frame as usize / 4;
/// What an entry takes besides its words.
const ENTRY_OVERHEAD: usize = 128;
/// Letters of a title or a name.
const WORDS_MAX: usize = 96;

/// Ends of names that promise sound.
const ENDS: &[&str] = &["mp3", "flac", "ogg", "oga", "opus", "wav", "aac", "m4a", "mp4"];

/// What was found in each file; nothing: it is no sound after all.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<HashMap<PathBuf, (Stamp, Option<AudioInfo>)>>);

impl Heard {
    /// Says of each file of a page what is heard in it. Blocking.
    pub(crate) fn describe(&self, share: &Share, files: &mut [FileInfo]) {
        let (mut looks, mut bytes) = (0, 0);
        for file in files.iter_mut().filter(|file| promises_sound(&file.path)) {
            if looks == LOOKS_MAX || bytes > PAGE_BYTES {
                return;
            }
            let Ok(opened) = share.open(&file.path) else { continue };
            file.audio = match self.known(&opened.stamp) {
                Some(known) => known,
                None => {
                    looks += 1;
                    let found = Decoder::open(Box::new(opened.file), Seeking::Quick).ok();
                    let audio = found.map(|decoder| audio_of(decoder.info()));
                    self.remember(opened.stamp, audio.clone());
                    audio
                }
            };
            bytes += file.audio.as_ref().map_or(0, size_of_entry);
        }
    }

    fn known(&self, stamp: &Stamp) -> Option<Option<AudioInfo>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, audio) = known.get(&stamp.path)?;
        (before == stamp).then(|| audio.clone())
    }

    fn remember(&self, stamp: Stamp, audio: Option<AudioInfo>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(stamp.path.clone(), (stamp, audio));
    }
}

fn promises_sound(path: &str) -> bool {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    end.is_some_and(|end| ENDS.contains(&end.as_str()))
}

fn size_of_entry(audio: &AudioInfo) -> usize {
    let words = [&audio.title, &audio.artist, &audio.album];
    ENTRY_OVERHEAD + words.into_iter().flatten().map(String::len).sum::<usize>()
}

fn audio_of(info: &Info) -> AudioInfo {
    let words = |text: &Option<String>| {
        text.as_ref().map(|text| text.chars().take(WORDS_MAX).collect::<String>())
    };
    AudioInfo {
        codec: info.codec.to_owned(),
        rate: info.rate,
        channels: info.channels,
        duration_ms: info.duration.and_then(|time| u64::try_from(time.as_millis()).ok()),
        title: words(&info.title),
        artist: words(&info.artist),
        album: words(&info.album),
    }
}

#[cfg(test)]
mod tests {
    use portolan_media::{Pacing, open_sink};

    use super::Heard;
    use crate::{Limits, files::Share};

    #[test]
    fn a_list_says_what_is_heard_and_nothing_of_what_only_looks_like_sound() {
        let root = tempfile::tempdir().unwrap();
        let wav = root.path().join("tone.wav");
        let mut sink = open_sink(&format!("wav:{}", wav.display()), 2, Pacing::Unpaced).unwrap();
        sink.write(&vec![0.25; 96_000]).unwrap();
        sink.finish().unwrap();
        std::fs::write(root.path().join("lies.mp3"), "no sound at all").unwrap();
        std::fs::write(root.path().join("text.txt"), "words").unwrap();
        let share = Share::new(root.path(), &Limits::default()).unwrap();
        let heard = Heard::default();
        for _ in 0..2 {
            let mut page = share.page(None, 10);
            heard.describe(&share, &mut page.files);
            let audio: Vec<_> = page.files.iter().map(|file| file.audio.clone()).collect();
            let [None, None, Some(tone)] = &audio[..] else { panic!("{audio:?}") };
            assert_eq!((tone.rate, tone.channels, tone.duration_ms), (48_000, 2, Some(1_000)));
        }
        assert_eq!(heard.0.lock().unwrap().len(), 2, "both were looked at once");
    }
}
