//! The first frame of each side.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use portolan_mux::{
    Mux, Params, Reader, Violation,
    frame::{Close, CloseCause, DecodeError, Greeting, Session, VERSION, is_session_frame},
};
use portolan_transport::CloseCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest first frame in bytes.
const GREETING_MAX: usize = 4096;

/// Why there was no greeting.
#[derive(Debug)]
pub(crate) enum GreetError {
    /// The carrier failed or ended.
    Io(io::Error),
    /// The other side does not want us.
    Refused(String),
    /// What came was not a greeting of this version.
    Wrong(String),
}

impl From<io::Error> for GreetError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Violation> for GreetError {
    fn from(violation: Violation) -> Self {
        Self::Wrong(violation.to_string())
    }
}

/// What the other side has said, and bytes that came after it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) params: Params,
    pub(crate) idle: Duration,
    pub(crate) rest: BytesMut,
}

/// Sends our greeting and waits for the other side's.
pub(crate) async fn greet<S>(
    carrier: &mut S,
    mux: &Mux,
    idle: Duration,
) -> Result<Heard, GreetError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(portolan_mux::VARINT_MAX);
    let greeting = Greeting { version: VERSION, idle_ms, params: mux.params() };
    let mut out = Vec::new();
    Session::Greeting(greeting).encode(&mut out);
    carrier.write_all(&out).await?;
    carrier.flush().await?;
    hear(carrier).await
}

/// Turns the other side away, and waits until it has heard.
pub(crate) async fn turn_away<S>(carrier: &mut S, code: CloseCode, reason: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let cause = CloseCause::Application(code.0);
    let mut out = Vec::new();
    Session::Close(Close { cause, reason: reason.as_bytes() }).encode(&mut out);
    carrier.write_all(&out).await?;
    carrier.shutdown().await?;
    // An end with unread bytes would take the refusal with it.
    let mut scratch = [0; 512];
    while carrier.read(&mut scratch).await? > 0 {}
    Ok(())
}

async fn hear<S: AsyncRead + Unpin>(carrier: &mut S) -> Result<Heard, GreetError> {
    let mut bytes = BytesMut::with_capacity(256);
    loop {
        if carrier.read_buf(&mut bytes).await? == 0 {
            return Err(GreetError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut reader = Reader::new(&bytes);
        let session = match decode(&mut reader) {
            Ok(session) => session,
            Err(DecodeError::Incomplete) if bytes.len() < GREETING_MAX => continue,
            Err(error) => return Err(Violation::from(error).into()),
        };
        let heard = understand(session)?;
        let used = bytes.len() - reader.remaining();
        let (params, idle) = heard;
        bytes.advance(used);
        return Ok(Heard { params, idle, rest: bytes });
    }
}

fn decode<'a>(reader: &mut Reader<'a>) -> Result<Option<Session<'a>>, DecodeError> {
    let kind = reader.varint()?;
    if is_session_frame(kind) { Session::decode(kind, reader).map(Some) } else { Ok(None) }
}

fn understand(session: Option<Session<'_>>) -> Result<(Params, Duration), GreetError> {
    match session {
        Some(Session::Greeting(greeting)) if greeting.version == VERSION => {
            Ok((greeting.params, Duration::from_millis(greeting.idle_ms)))
        }
        Some(Session::Greeting(Greeting { version, .. })) => Err(GreetError::Wrong(format!(
            "the other side speaks version {version} of the framing and this one {VERSION}; update the older one"
        ))),
        Some(Session::Close(close)) => Err(GreetError::Refused(words(&close))),
        Some(Session::Ping(_) | Session::Pong(_)) | None => {
            Err(GreetError::Wrong("the other side did not begin with a greeting".to_owned()))
        }
    }
}

/// The reason of a farewell, or its code where there is none.
pub(crate) fn words(close: &Close<'_>) -> String {
    let reason = String::from_utf8_lossy(close.reason);
    match close.cause {
        CloseCause::Application(_) | CloseCause::Violation(_) if !reason.is_empty() => {
            reason.into_owned()
        }
        CloseCause::Application(code) => format!("code {code}"),
        CloseCause::Violation(code) => format!("violation {code}"),
    }
}
