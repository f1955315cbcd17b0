//! How the two sides of a transfer tell each other that a person has stopped it.
//!
//! Among raw bytes there is no room for words: a stream that is left says why by its code.

use std::io;

use portolan_protocol::{ErrorBody, ErrorCode, Name};
use portolan_transport::{ReadError, RecvStream, SendStream, StreamCode, WriteError};

use crate::{FileError, Stop};

/// Codes of streams that are left, as `docs/protocol.md` names them.
const CODES: [(Stop, StreamCode); 2] =
    [(Stop::Paused, StreamCode(1)), (Stop::Cancelled, StreamCode(2))];

impl Stop {
    fn stream_code(self) -> StreamCode {
        CODES.iter().find(|(stop, _)| *stop == self).map_or(StreamCode::DROPPED, |(_, code)| *code)
    }

    /// What the other side has said by the way in which it left its stream.
    pub(crate) fn told_by(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        let reset = inner.downcast_ref::<ReadError>().and_then(|error| match error {
            ReadError::Reset(code) => Some(*code),
            ReadError::Closed(_) => None,
        });
        let stopped = inner.downcast_ref::<WriteError>().and_then(|error| match error {
            WriteError::Stopped(code) => Some(*code),
            WriteError::Ended | WriteError::Closed(_) => None,
        });
        let code = reset.or(stopped)?;
        CODES.iter().find(|(_, known)| *known == code).map(|(stop, _)| *stop)
    }

    /// What the other side has said by an error in place of an answer.
    pub(crate) fn told_in(body: &ErrorBody) -> Option<Self> {
        match body.code {
            ErrorCode::Paused => Some(Self::Paused),
            ErrorCode::Cancelled => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// Tells the other side in place of an answer.
    pub(crate) fn body(self) -> ErrorBody {
        match self {
            Self::Paused => {
                let message = "the other side has paused it; it goes on when that side says so";
                ErrorBody::new(ErrorCode::Paused, message)
            }
            Self::Cancelled => {
                ErrorBody::new(ErrorCode::Cancelled, "the other side has cancelled it")
            }
        }
    }
}

impl FileError {
    /// Stopped by the other side.
    pub(crate) fn stopped_by(stop: Stop, who: &Name) -> Self {
        Self::Stopped { stop, by: Some(who.clone()) }
    }

    /// What we have stopped ourselves.
    pub(crate) fn stopped_here(&self) -> Option<Stop> {
        match self {
            Self::Stopped { stop, by: None } => Some(*stop),
            _ => None,
        }
    }
}

/// Leaves the sending side of a stream, with the reason if a person here has one.
pub(crate) fn leave_sending<T>(result: &Result<T, FileError>, stream: &mut SendStream) {
    if let Some(stop) = result.as_ref().err().and_then(FileError::stopped_here) {
        stream.reset(stop.stream_code());
    }
}

/// Leaves the receiving side of a stream, with the reason if a person here has one.
pub(crate) fn leave_receiving<T>(result: &Result<T, FileError>, stream: &mut RecvStream) {
    if let Some(stop) = result.as_ref().err().and_then(FileError::stopped_here) {
        stream.stop(stop.stream_code());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use portolan_transport::{ReadError, StreamCode, WriteError};

    use crate::Stop;

    #[test]
    fn a_code_means_the_same_in_both_directions_and_others_mean_nothing() {
        for stop in [Stop::Paused, Stop::Cancelled] {
            let code = stop.stream_code();
            let errors: [io::Error; 2] =
                [ReadError::Reset(code).into(), WriteError::Stopped(code).into()];
            for error in errors {
                assert_eq!(Stop::told_by(&error), Some(stop));
            }
            assert_eq!(Stop::told_in(&stop.body()), Some(stop));
        }
        let dropped: io::Error = ReadError::Reset(StreamCode::DROPPED).into();
        assert_eq!(Stop::told_by(&dropped), None);
        assert_eq!(Stop::told_by(&io::Error::other("disk")), None);
    }
}
