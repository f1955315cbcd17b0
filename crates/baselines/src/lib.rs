//! The yardsticks of the laboratory: bare sockets, TLS, QUIC and KCP by others.

mod handshakes;
mod kcp;
mod one_stream;
mod quinn;
mod s2n;
mod tcp;
mod tls;

use portolan_subject::Subject;

pub use self::{kcp::Kcp, quinn::Quinn, s2n::S2n, tcp::RawTcp, tls::Tls};

/// Every yardstick, in the order of reports.
pub static BASELINES: &[&dyn Subject] =
    &[&RawTcp::DEFAULT, &RawTcp::CUBIC, &RawTcp::BBR, &Tls, &Quinn::CUBIC, &Quinn::BBR, &S2n, &Kcp];
