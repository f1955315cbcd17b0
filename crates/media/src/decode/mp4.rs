//! Where the sound begins in an MP4 file: its edit list (ISO/IEC 14496-12, section 8.6.6), which
//! the demultiplexer passes over.

use std::io::{self, SeekFrom};

use super::Input;

/// Boxes that are looked at on each level.
const BOXES_MAX: usize = 64;

/// The part of a track that is to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// Where it begins, in the track's own units.
    pub(super) start: i64,
    /// How long it is, in the file's units, and how many of these a second has.
    length: (u64, u32),
}

impl Edit {
    /// Its length in samples, if it says one.
    pub(super) fn seconds(self, rate: u32) -> Option<i64> {
        let (length, scale) = self.length;
        let frames = u128::from(length) * u128::from(rate) / u128::from(scale.max(1));
        i64::try_from(frames).ok().filter(|frames| *frames > 0)
    }
}

/// Finds the edit list of a file's first track, if it is an MP4 file and has one that only cuts.
/// What is broken is as if it were not there. Leaves `input` at its beginning.
pub(super) fn edit(input: &mut dyn Input) -> io::Result<Option<Edit>> {
    let length = input.length();
    let found = match length {
        Some(length) => find(input, length).or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(error),
        })?,
        None => None,
    };
    if length.is_some() {
        input.seek(SeekFrom::Start(0))?;
    }
    Ok(found)
}

fn find(input: &mut dyn Input, length: u64) -> io::Result<Option<Edit>> {
    let mut start = [0; 8];
    input.read_exact(&mut start)?;
    if start[4..] != *b"ftyp" {
        return Ok(None);
    }
    let whole = Span { from: 0, to: length };
    let Some(movie) = child(input, whole, *b"moov")? else { return Ok(None) };
    let Some(header) = child(input, movie, *b"mvhd")? else { return Ok(None) };
    let Some(track) = child(input, movie, *b"trak")? else { return Ok(None) };
    let Some(edits) = child(input, track, *b"edts")? else { return Ok(None) };
    let Some(list) = child(input, edits, *b"elst")? else { return Ok(None) };
    let scale = movie_scale(input, header)?;
    entry(input, list, scale)
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

/// What is in the first box of that kind in a span.
fn child(input: &mut dyn Input, within: Span, kind: [u8; 4]) -> io::Result<Option<Span>> {
    let mut at = within.from;
    for _ in 0..BOXES_MAX {
        if at.saturating_add(8) > within.to {
            return Ok(None);
        }
        input.seek(SeekFrom::Start(at))?;
        let (size, name) = (u64::from(number(input)?), number(input)?.to_be_bytes());
        let (header, size) = match size {
            0 => (8, within.to - at),
            1 => (16, (u64::from(number(input)?) << 32) | u64::from(number(input)?)),
            size => (8, size),
        };
        let Some(end) = at.checked_add(size).filter(|end| *end <= within.to && size >= header)
        else {
            return Ok(None);
        };
        if name == kind {
            return Ok(Some(Span { from: at + header, to: end }));
        }
        at = end;
    }
    Ok(None)
}

fn movie_scale(input: &mut dyn Input, header: Span) -> io::Result<u32> {
    input.seek(SeekFrom::Start(header.from))?;
    let version = number(input)? >> 24;
    let times = if version == 1 { 16 } else { 8 };
    input.seek(SeekFrom::Start(header.from + 4 + times))?;
    number(input)
}

/// The one entry that cuts; files that arrange several are played as they are.
fn entry(input: &mut dyn Input, list: Span, scale: u32) -> io::Result<Option<Edit>> {
    input.seek(SeekFrom::Start(list.from))?;
    let version = number(input)? >> 24;
    if number(input)? != 1 {
        return Ok(None);
    }
    let (length, start) = match version {
        1 => (wide(input)?, wide(input)?.cast_signed()),
        _ => (u64::from(number(input)?), i64::from(number(input)?.cast_signed())),
    };
    Ok((start >= 0).then_some(Edit { start, length: (length, scale) }))
}

fn number(input: &mut dyn Input) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn wide(input: &mut dyn Input) -> io::Result<u64> {
    Ok((u64::from(number(input)?) << 32) | u64::from(number(input)?))
}
