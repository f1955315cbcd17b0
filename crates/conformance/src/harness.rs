//! What a suite runs against.

use std::{fmt, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use portolan_transport::Transport;

/// A future behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A transport and the network that it runs on.
#[derive(Debug, Clone)]
pub struct Harness {
    /// What the tests are called: `udp`, `udp_through_a_bad_network`.
    pub name: &'static str,
    /// The transport.
    pub transport: &'static dyn Transport,
    /// How dialling reaches the other end.
    pub dial: Dial,
    /// A way that can go dark, if there is one.
    pub dark: Option<Arc<dyn Detours>>,
}

/// How dialling reaches the other end.
#[derive(Debug, Clone)]
pub enum Dial {
    /// Straight: everything that is sent arrives, as long as receivers keep up.
    Straight,
    /// By detours, on which packets may be lost, doubled or overtaken.
    Through(Arc<dyn Detours>),
}

/// A maker of detours: proxies that stand between two ends.
pub trait Detours: fmt::Debug + Send + Sync + 'static {
    /// Opens a way to `target`; it leads there until it is dropped.
    fn open(&self, target: SocketAddr) -> BoxFuture<'static, Box<dyn Detour>>;
}

/// One way.
pub trait Detour: Send + Sync + 'static {
    /// The address to dial in place of the target.
    fn entry(&self) -> SocketAddr;

    /// From now on nothing passes, in either direction, and nobody is told.
    fn go_dark(&self);
}

impl Harness {
    /// `transport` on a network that loses nothing, named by its scheme.
    #[must_use]
    pub fn straight(transport: &'static dyn Transport) -> Self {
        Self { name: transport.scheme(), transport, dial: Dial::Straight, dark: None }
    }

    pub(crate) fn is_lossless(&self) -> bool {
        match self.dial {
            Dial::Straight => true,
            Dial::Through(_) => false,
        }
    }
}
