//! The lines that programs write.

use std::process::{ChildStderr, ChildStdout};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
};

use super::event::Stream;

/// A longer line is told in pieces.
const LINE_MAX: u64 = 16 << 10;

/// What comes from a program's outputs.
#[derive(Debug)]
pub(super) enum Said {
    /// A line, without its end.
    Line(Stream, String),
    /// Both outputs have ended.
    Closed,
}

/// Hands on every line of both outputs with the program's number, then [`Said::Closed`].
pub(super) async fn listen(
    number: usize,
    outputs: (Option<ChildStdout>, Option<ChildStderr>),
    lines: mpsc::Sender<(usize, Said)>,
) {
    let out = outputs.0.and_then(|out| tokio::process::ChildStdout::from_std(out).ok());
    let err = outputs.1.and_then(|err| tokio::process::ChildStderr::from_std(err).ok());
    tokio::join!(
        each_line(number, out, Stream::Stdout, &lines),
        each_line(number, err, Stream::Stderr, &lines),
    );
    let _ = lines.send((number, Said::Closed)).await;
}

async fn each_line(
    number: usize,
    output: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    lines: &mpsc::Sender<(usize, Said)>,
) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let said = Said::Line(stream, text.trim_end_matches(['\n', '\r']).to_owned());
        if lines.send((number, said)).await.is_err() {
            return;
        }
    }
}
