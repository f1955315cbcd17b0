//! Audio files.

use std::{io::Cursor, time::Duration};

use portolan_media::{CHANNELS_MAX, Decoder, Seeking, Source};

/// Samples after which a file has shown what it can do.
const ENOUGH: usize = 1 << 20;
/// Bytes of a seed, so that much can be tried.
const SEED_MAX: usize = 3 << 10;

/// Whatever a file says, it is refused or gives samples that can be heard, and seeking in it does
/// no harm.
pub(crate) fn decode(bytes: &[u8]) {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut decoder) = Decoder::open(input, Seeking::Quick) else { return };
    let channels = decoder.channels();
    assert!((1..=CHANNELS_MAX).contains(&channels));
    for to in [0, 1500, 20] {
        if decoder.seek(Duration::from_millis(to)).is_ok() {
            hear(&mut decoder);
        }
    }
}

fn hear(decoder: &mut Decoder) {
    let (mut samples, mut heard) = ([0.0; 4096], 0);
    while heard < ENOUGH {
        match decoder.read(&mut samples) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                assert!(count <= samples.len() && count % usize::from(decoder.channels()) == 0);
                heard += count;
            }
        }
    }
}

pub(crate) fn decode_seeds() -> Vec<Vec<u8>> {
    let files: [&[u8]; 6] = [
        include_bytes!("../../media/tests/fixtures/tone.mp3"),
        include_bytes!("../../media/tests/fixtures/tone.flac"),
        include_bytes!("../../media/tests/fixtures/tone.ogg"),
        include_bytes!("../../media/tests/fixtures/tone.opus"),
        include_bytes!("../../media/tests/fixtures/tone.aac"),
        include_bytes!("../../media/tests/fixtures/tone-8k.wav"),
    ];
    let heads = files.iter().map(|file| file.get(..SEED_MAX).unwrap_or(file).to_vec());
    // What describes an MP4 file stands at its end.
    heads.chain([include_bytes!("../../media/tests/fixtures/tone.m4a").to_vec()]).collect()
}
