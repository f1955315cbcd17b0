//! Parcels as bytes.
//!
//! ```text
//! answer  0  session u64  frame…
//! news    1  weight u8  kind u8  sessions u32  session u64 × sessions  frame…
//! end     2  session u64  code u32  reason…
//! ```
//!
//! Numbers are big-endian; what is last goes to the end. Frames are not copied when they are read.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use portolan_transport::CloseCode;

use super::{NewsKind, Parcel, Weight};
use crate::core::SessionId;

const ANSWER: u8 = 0;
const NEWS: u8 = 1;
const END: u8 = 2;

/// The parcel as bytes.
pub(super) fn encode(parcel: &Parcel) -> Bytes {
    let mut out = BytesMut::new();
    match parcel {
        Parcel::Answer { to, frame } => {
            out.reserve(9 + frame.len());
            out.put_u8(ANSWER);
            out.put_u64(to.0);
            out.extend_from_slice(frame);
        }
        Parcel::News { to, frame, weight, kind } => {
            out.reserve(7 + 8 * to.len() + frame.len());
            out.put_u8(NEWS);
            out.put_u8(match weight {
                Weight::Advisory => 0,
                Weight::Binding => 1,
                Weight::Last => 2,
            });
            out.put_u8(match kind {
                NewsKind::Other => 0,
                NewsKind::Message => 1,
            });
            out.put_u32(u32::try_from(to.len()).unwrap_or(u32::MAX));
            to.iter().for_each(|session| out.put_u64(session.0));
            out.extend_from_slice(frame);
        }
        Parcel::End { to, code, reason } => {
            out.put_u8(END);
            out.put_u64(to.0);
            out.put_u32(code.0);
            out.extend_from_slice(reason.as_bytes());
        }
    }
    out.freeze()
}

/// The parcel that the bytes are; `None`: they are none.
pub(super) fn decode(bytes: &Bytes) -> Option<Parcel> {
    let mut rest = bytes.clone();
    match rest.try_get_u8().ok()? {
        ANSWER => Some(Parcel::Answer { to: session(&mut rest)?, frame: rest }),
        NEWS => {
            let weight = match rest.try_get_u8().ok()? {
                0 => Weight::Advisory,
                1 => Weight::Binding,
                2 => Weight::Last,
                _ => return None,
            };
            let kind = match rest.try_get_u8().ok()? {
                0 => NewsKind::Other,
                1 => NewsKind::Message,
                _ => return None,
            };
            let count = rest.try_get_u32().ok()? as usize;
            if count > rest.len() / 8 {
                return None;
            }
            let to = (0..count).map(|_| session(&mut rest)).collect::<Option<_>>()?;
            Some(Parcel::News { to, frame: rest, weight, kind })
        }
        END => {
            let to = session(&mut rest)?;
            let code = CloseCode(rest.try_get_u32().ok()?);
            let reason = String::from_utf8(rest.into()).ok()?;
            Some(Parcel::End { to, code, reason })
        }
        _ => None,
    }
}

fn session(rest: &mut Bytes) -> Option<SessionId> {
    rest.try_get_u64().ok().map(SessionId)
}
