//! Bytes that can be told apart, without keeping them.

use std::sync::LazyLock;

use portolan_transport::{RecvStream, SendStream};
use rand::RngCore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::seed::chance;

/// Prime, so that the pattern fits no power of two that a buffer might have.
const PERIOD: usize = 65_521;
const PIECE: usize = 32 << 10;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; PERIOD + PIECE];
    chance().fill_bytes(&mut bytes[..PERIOD]);
    bytes.copy_within(..PIECE, PERIOD);
    bytes
});

/// The bytes of stream or message number `tag` from `offset` on; at most 32 KiB.
pub(crate) fn piece(tag: usize, offset: usize, size: usize) -> &'static [u8] {
    let start = (offset + tag * 7919) % PERIOD;
    &PATTERN[start..start + size.min(PIECE)]
}

pub(crate) fn bytes(tag: usize, size: usize) -> Vec<u8> {
    let mut whole = Vec::with_capacity(size);
    while whole.len() < size {
        whole.extend_from_slice(piece(tag, whole.len(), size - whole.len()));
    }
    whole
}

/// Writes `size` bytes of `tag`'s pattern.
pub(crate) async fn write(send: &mut SendStream, tag: usize, size: usize) {
    let mut sent = 0;
    while sent < size {
        let piece = piece(tag, sent, size - sent);
        sent += send.write(piece).await.expect("the stream takes bytes");
    }
}

/// Writes `size` bytes of `tag`'s pattern and the end.
pub(crate) async fn write_all(send: &mut SendStream, tag: usize, size: usize) {
    write(send, tag, size).await;
    send.finish().expect("the stream takes the end");
}

/// Reads exactly `size` bytes more and compares them with `tag`'s pattern from `offset` on.
pub(crate) async fn read(recv: &mut RecvStream, tag: usize, offset: usize, size: usize) {
    let mut buffer = vec![0; PIECE];
    let mut read = 0;
    while read < size {
        let want = PIECE.min(size - read);
        let got = recv.read(&mut buffer[..want]).await.expect("the stream gives bytes");
        assert!(got > 0, "the end after {} bytes of {}", offset + read, offset + size);
        compare(&buffer[..got], tag, offset + read);
        read += got;
    }
}

/// Reads to the end, compares, and says how many there were.
pub(crate) async fn read_all(recv: &mut RecvStream, tag: usize) -> usize {
    let mut buffer = vec![0; PIECE];
    let mut read = 0;
    loop {
        let got = recv.read(&mut buffer).await.expect("the stream gives bytes");
        if got == 0 {
            return read;
        }
        compare(&buffer[..got], tag, read);
        read += got;
    }
}

/// Compares what was read at `offset` with `tag`'s pattern; at most 32 KiB.
pub(crate) fn compare(got: &[u8], tag: usize, offset: usize) {
    assert!(got == piece(tag, offset, got.len()), "stream {tag}: wrong bytes after {offset}");
}
