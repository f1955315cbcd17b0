//! Ways between two peers through address translators, without I/O.
//!
//! ```text
//!        the shell: sockets, clock, randomness            (nat-io)
//!             │ datagrams, time          ▲ datagrams, events
//!      ┌──────┴───────────────┬──────────┴────────┐
//!    Agent                Responder            Surveyor
//!  finds and watches    answers who asks     finds out how a
//!  a path to a peer     as which it is seen  translator behaves
//!      └──────────────────────┼───────────────────┘
//!                  stun::{Message, Writer}
//! ```
//!
//! Two peers behind translators cannot call each other: the first packet of each is dropped by the
//! other's box. But what goes out opens a hole for what comes back. So both send at once, to every
//! address at which the other may be reached, until something gets through: that is an [`Agent`].
//! It follows ICE (RFC 8445) with one stream and one component, so there is nothing to freeze and
//! no foundations; roles and keys come from the introduction, so there is no role conflict and no
//! exchange of passwords. The reasons are in ADR 0034.
//!
//! **What it does not do.** It opens no socket and keeps no clock. It carries no data: the path
//! that it finds is for a transport, which proves by its own handshake who is at the other end. It
//! speaks UDP only.
//!
//! **Invariants**
//! - Pairs of translators are traversed exactly where real kernels' can be, and an
//!   address-dependent mapping opposite a port-restricted filter by birthday probing
//!   (`every_pair_of_translators_meets_or_not_as_is_known`).
//! - Who never answers gets a bounded number of small checks, whatever is claimed or replayed
//!   (`a_victim_named_by_a_peer_gets_a_handful_of_small_packets`,
//!   `replayed_checks_from_a_forged_address_buy_little`).
//! - Answers are smaller than the checks that ask for them (`answers_are_smaller_than_questions`).
//! - Nothing that is not sealed by the introduction's keys changes anything
//!   (`forged_and_reflected_messages_change_nothing`).
//! - A responder's answer is at most three times as long as the question
//!   (`no_answer_is_longer_than_three_times_its_question`), and a survey finds what a translator
//!   was configured to do (`a_survey_finds_every_behaviour`).
//! - Decoding is total, and every collection has a bound ([`Limits`]).
//!
//! Start reading at [`Agent`].

mod agent;
mod candidate;
mod credentials;
mod limits;
mod responder;
pub mod stun;
mod survey;

pub use agent::{
    Agent, AgentConfig, AgentStats, CandidateError, Deadline, Event, FailReason, Families, Handled,
    LostReason, Mapping, Path, Reason, SocketId, Transmit,
};
pub use candidate::{
    Candidate, CandidateKind, Loopback, Unreachable, check_remote, is_worth_telling,
    local_preference, prune,
};
pub use credentials::{Credentials, Role};
pub use limits::{Limits, Timing};
pub use responder::{Door, Responder, ResponderLimits, ResponderStats};
pub use survey::{Scope, Survey, Surveyor};
