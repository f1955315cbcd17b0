//! Files that are cut off, damaged or lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    io::{Cursor, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_media::{DecodeError, Decoder, Input, Seeking, Source};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use support::fixture;

const FILES: &[&str] =
    &["tone.mp3", "tone.flac", "tone.ogg", "tone.opus", "tone.m4a", "tone.aac", "tone-8k.wav"];
/// Damaged copies tried of each.
const COPIES: usize = 60;
/// A file may be gone through so often: probed, scanned for its length, decoded, and sought in.
const PASSES: u64 = 200;
/// Samples after which a file that goes on is left alone: 40 s of two channels.
const ENOUGH: usize = 4_000_000;

/// Counts what is read.
struct Counted(Cursor<Vec<u8>>, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(out)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

impl Input for Counted {
    fn length(&self) -> Option<u64> {
        self.0.length()
    }
}

/// Decodes what can be, seeks, decodes again; returns the samples of the first time.
fn hear(bytes: Vec<u8>) -> Result<usize, DecodeError> {
    let length = bytes.len() as u64;
    let read = Arc::new(AtomicU64::new(0));
    let input = Counted(Cursor::new(bytes), Arc::clone(&read));
    let mut decoder = Decoder::open(Box::new(input), Seeking::Exact)?;
    let first = samples(&mut decoder);
    for to in [100, 1400, 0] {
        if decoder.seek(Duration::from_millis(to)).is_ok() {
            samples(&mut decoder);
        }
    }
    let read = read.load(Ordering::Relaxed);
    assert!(read <= PASSES * (length + 65_536), "{read} bytes read of {length}");
    Ok(first)
}

fn samples(decoder: &mut Decoder) -> usize {
    let (mut some, mut heard) = (vec![0.0; 4096], 0);
    while heard < ENOUGH {
        match decoder.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(count) => heard += count,
        }
    }
    heard
}

fn damage(bytes: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let mut below = |bound: usize| (random.next_u32() as usize) % bound.max(1);
    match below(4) {
        0 => damaged.truncate(below(bytes.len())),
        1 => {
            for _ in 0..=below(20) {
                let at = below(damaged.len());
                damaged[at] ^= 1 << below(8);
            }
        }
        2 => {
            // The head is where the numbers are.
            for _ in 0..=below(8) {
                let at = below(damaged.len().min(600));
                damaged[at] = [0, 0x7f, 0x80, 0xff][below(4)];
            }
        }
        _ => {
            let (from, length) = (below(bytes.len()), below(3000));
            let end = (from + length).min(bytes.len());
            damaged.drain(from..end);
        }
    }
    damaged
}

#[test]
fn damaged_files_are_refused_or_heard_as_far_as_they_go_and_reading_ends() {
    let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for file in FILES {
        let bytes = fs::read(fixture(file)).unwrap();
        for _ in 0..COPIES {
            let _ = hear(damage(&bytes, &mut random));
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_heard_to_where_it_ends() {
    for file in FILES {
        let bytes = fs::read(fixture(file)).unwrap();
        let whole = hear(bytes.clone()).unwrap();
        let most = hear(bytes[..bytes.len() / 8 * 7].to_vec());
        match (*file, most) {
            // What describes an MP4 file stands at its end.
            ("tone.m4a", most) => assert!(most.is_err()),
            // An Ogg page that is cut off is lost whole.
            (_, most) => {
                let most = most.unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(most > whole / 3 && most < whole, "{file}: {most} of {whole}");
            }
        }
    }
}

#[test]
fn what_is_no_audio_is_refused_with_what_would_be() {
    let text = b"This is a letter, and nothing that sounds. ".repeat(2000);
    for bytes in [Vec::new(), vec![0; 100_000], text, b"RIFF\xff\xff\xff\xffWAVE".to_vec()] {
        let refused = hear(bytes).unwrap_err().to_string();
        assert!(refused.contains("MP3, FLAC"), "{refused}");
    }
}

#[test]
fn a_header_that_lies_about_rate_or_channels_is_refused() {
    let wav = fs::read(fixture("tone-8k.wav")).unwrap();
    let format = wav.windows(4).position(|four| four == b"fmt ").unwrap() + 8;
    for (at, bytes) in
        [(2, vec![0xff, 0xff]), (4, vec![0xff, 0xff, 0xff, 0x7f]), (4, vec![1, 0, 0, 0])]
    {
        let mut lying = wav.clone();
        lying[format + at..format + at + bytes.len()].copy_from_slice(&bytes);
        assert!(hear(lying).is_err(), "{at}: {bytes:?}");
    }
}
