//! Gateways: what older chat programs say, translated to the server's messages and back.
//!
//! ```text
//!   an old client ══ TCP or UDP ══ shell (crates/server/src/gateways)
//!                                    │  bytes, answers, events, time in
//!                                    │  actions out: write, enter, ask, note, finish
//!                                 Bridge            one a connection: the old program's rules
//!                                    │  Command                Reply, Event
//!                                   hub             the server's core, as any client sees it
//! ```
//!
//! A gateway is a row of [`GATEWAYS`]: a parser, a [`Bridge`] and what connections share (a
//! [`Service`]). The **hub** is what the bridge talks to, and it is not a second server: a bridge
//! enters under a name ([`Action::Enter`]) and is then a session of the server's core like every
//! other. It asks with [`Command`](portolan_protocol::Command)s (list, send, receipts,
//! conversations, groups, …) and gets [`Reply`](portolan_protocol::Reply)s and
//! [`Event`](portolan_protocol::Event)s. So an old client is seen by everyone and sees everyone,
//! its registry is its badge, and whatever the core bounds is bounded for it too.
//!
//! What this crate does not do: it has no socket, clock or randomness; it encrypts nothing, for
//! the old programs cannot.
//!
//! | invariant | shown by |
//! |---|---|
//! | whatever bytes come, a bridge goes on, and what it writes fits its client | the fuzz targets `gateway_…`, `crates/server/tests/gateways/hostile.rs` |
//! | names go to the server and back unchanged, and no two meet | `names::tests` |
//! | the old programs' own sessions are answered with the same bytes | `crates/server/tests/gateways` |
//!
//! A new gateway is one module and one line in [`GATEWAYS`]. Start with [`Bridge`], then `lines`,
//! the simplest. `docs/gateways.md` is for those who run them.

mod bridge;
mod chunks;
mod cod;
mod courtesy;
mod desk;
mod inf452;
mod line_buffer;
mod lines;
mod mac0448;
mod names;
mod options;
mod roster;
mod text;
mod tr223;
mod upc;

pub use bridge::{
    Action, Bridge, Call, CallNews, Carrier, Door, Duplicates, End, Entry, Gateway, Lane, Now,
    Refused, Service, Ticket, Visitor,
};
pub use names::{legacy_id, shown, to_native};
pub use options::{OptionInfo, Options, OptionsError};

/// Every gateway: `server --gateway NAME` takes one of these.
pub const GATEWAYS: &[&dyn Gateway] = &[
    &lines::Lines,
    &tr223::Tr223,
    &cod::Cod,
    &inf452::OF_2024,
    &inf452::OF_2026,
    &mac0448::Mac0448,
    &upc::Upc,
];

/// The gateway of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Gateway> {
    GATEWAYS.iter().copied().find(|gateway| gateway.name() == name)
}

/// The parsers alone.
pub mod parsers {
    pub use crate::{
        chunks::Chunks,
        cod::wire as cod,
        inf452::wire as inf452,
        line_buffer::{Line, LineBuffer},
        lines::request as lines,
        mac0448::wire as mac0448,
        tr223::wire as tr223,
        upc::wire as upc,
    };
}

/// The moment at which tests begin; what counts is the time after it.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one moment has to be the first")]
fn test_epoch() -> std::time::Instant {
    std::time::Instant::now()
}
