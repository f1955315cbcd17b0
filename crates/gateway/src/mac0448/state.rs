//! The states of the original server.

use std::time::Instant;

use portolan_protocol::Name;

use super::wire::Request;

/// Where a client stands; the names are the original's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    WaitingConnection,
    WaitingLogin,
    LoggedIn,
    /// It has asked for a chat.
    WaitingOther(Asking),
    /// It has been asked for one, and answers until then.
    WaitingClient {
        with: Name,
        until: Instant,
    },
    Chatting {
        with: Name,
    },
}

impl State {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::WaitingConnection => "waiting_connection",
            Self::WaitingLogin => "waiting_login",
            Self::LoggedIn => "logged_in",
            Self::WaitingOther(_) => "waiting_other_confirmation",
            Self::WaitingClient { .. } => "waiting_client_confirmation",
            Self::Chatting { .. } => "chatting",
        }
    }

    /// With whom the client talks.
    pub(super) fn partner(&self) -> Option<&Name> {
        match self {
            Self::Chatting { with } => Some(with),
            Self::WaitingConnection
            | Self::WaitingLogin
            | Self::LoggedIn
            | Self::WaitingOther(_)
            | Self::WaitingClient { .. } => None,
        }
    }

    /// Whether the original takes this request in this state.
    pub(super) fn takes(&self, request: Request<'_>) -> bool {
        match request {
            Request::Connect => *self == Self::WaitingConnection,
            Request::Login(_) => *self == Self::WaitingLogin,
            Request::ListUsers | Request::Chat(_) => *self == Self::LoggedIn,
            Request::EndChat(_) => matches!(self, Self::Chatting { .. }),
            Request::Logout | Request::Quit | Request::Heartbeat => true,
        }
    }
}

/// A request for a chat on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asking {
    pub(super) with: Name,
    /// The other is a client of this gateway, and says where it listens.
    pub(super) is_ours: bool,
    pub(super) until: Instant,
}
