//! Reading ahead of TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// What is read at once while much arrives: four records of TLS.
const AHEAD: usize = 64 << 10;

/// Fewer reads of the carrier than TLS would make, which asks for a quarter of a record at most.
///
/// A reader that is given less than it asked for has all that there was, as after every message;
/// then nothing is read ahead and nothing is held.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    buffer: BytesMut,
    /// The last read found all that it asked for.
    more: bool,
}

impl ReadAhead {
    /// Reads from what is here, or from `carrier`; answers how much came from the carrier.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut carrier: Pin<&mut impl AsyncRead>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut read = 0;
        if self.buffer.is_empty() {
            if !self.more {
                let room = out.remaining();
                ready!(carrier.as_mut().poll_read(cx, out))?;
                self.more = out.remaining() == 0;
                return Poll::Ready(Ok(room - out.remaining()));
            }
            self.buffer.reserve(AHEAD);
            let Poll::Ready(result) = poll_read_buf(carrier, cx, &mut self.buffer) else {
                self.rest();
                return Poll::Pending;
            };
            read = result?;
        }
        let now = self.buffer.len().min(out.remaining());
        out.put_slice(&self.buffer[..now]);
        self.buffer.advance(now);
        Poll::Ready(Ok(read))
    }

    /// Holds nothing while nothing comes.
    fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A carrier, and how often it was asked.
    struct Asked<S>(S, u32);

    impl<S: AsyncRead + Unpin> AsyncRead for Asked<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, out)
        }
    }

    /// Reads 4 KiB at a time, as TLS does, until nothing is there.
    fn read_all(ahead: &mut ReadAhead, carrier: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut all, mut room) = (Vec::new(), [0; 4096]);
        loop {
            let mut out = ReadBuf::new(&mut room);
            match ahead.poll_read(&mut cx, Pin::new(carrier), &mut out) {
                Poll::Ready(Ok(_)) => all.extend_from_slice(out.filled()),
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => return all,
            }
        }
    }

    #[tokio::test]
    async fn much_is_read_in_few_reads_and_nothing_is_held_afterwards() {
        let (mut far, near) = duplex(1 << 20);
        let mut carrier = Asked(near, 0);
        let sent: Vec<u8> = (0..251_u8).cycle().take(500_000).collect();
        far.write_all(&sent).await.expect("room");
        let mut ahead = ReadAhead::default();
        assert!(read_all(&mut ahead, &mut carrier) == sent, "the same bytes");
        assert!(carrier.1 < 500_000 / 4096 / 8, "{} reads", carrier.1);
        assert_eq!(ahead.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn a_message_is_read_without_memory_of_its_own() {
        let (mut far, mut carrier) = duplex(1 << 20);
        let mut ahead = ReadAhead::default();
        far.write_all(&[7; 100]).await.expect("room");
        let mut room = [0; 4096];
        let mut out = ReadBuf::new(&mut room);
        let read = poll_fn(|cx| ahead.poll_read(cx, Pin::new(&mut carrier), &mut out)).await;
        assert_eq!((read.expect("alive"), out.filled().len()), (100, 100));
        assert!(!ahead.more, "less came than was asked for");
        assert_eq!(ahead.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn the_end_is_an_end_also_after_reading_ahead() {
        let (mut far, mut carrier) = duplex(1 << 20);
        far.write_all(&[7; 5000]).await.expect("room");
        drop(far);
        let mut ahead = ReadAhead::default();
        let mut all = 0;
        loop {
            let mut room = [0; 4096];
            let mut out = ReadBuf::new(&mut room);
            let read = poll_fn(|cx| ahead.poll_read(cx, Pin::new(&mut carrier), &mut out)).await;
            read.expect("no failure");
            match out.filled().len() {
                0 => break,
                len => all += len,
            }
        }
        assert_eq!(all, 5000);
        assert_eq!(carrier.read(&mut [0]).await.expect("no failure"), 0);
    }
}
