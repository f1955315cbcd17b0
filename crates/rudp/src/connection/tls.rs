//! The TLS engine: held as long as the handshake needs it, and no longer.

use rustls::{
    AlertDescription, HandshakeKind,
    pki_types::CertificateDer,
    quic::{Connection as Engine, KeyChange},
};

/// rustls's side of a connection, and what is kept of it.
///
/// An engine is some 7 KiB, most of what an idle connection would hold, and of no use once its
/// keys are out: the secrets for further keys come with them. A server's goes as soon as the
/// handshake is complete and its tickets are written; a client's when the connection has been
/// quiet for one heartbeat, by when the tickets have come.
#[derive(Debug)]
pub(super) struct Tls {
    engine: Option<Box<Engine>>,
    kind: Option<HandshakeKind>,
    certificates: Box<[CertificateDer<'static>]>,
}

impl Tls {
    pub(super) fn new(engine: Box<Engine>) -> Self {
        Self { engine: Some(engine), kind: None, certificates: Box::default() }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.is_handshaking())
    }

    /// Whether handshake bytes can still mean something.
    pub(super) fn is_listening(&self) -> bool {
        self.engine.is_some()
    }

    /// Takes bytes of one level, in order.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), rustls::Error> {
        match &mut self.engine {
            Some(engine) => engine.read_hs(bytes),
            None => Ok(()),
        }
    }

    /// Appends what is to be sent, up to the next change of keys.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        self.engine.as_mut()?.write_hs(out)
    }

    /// What the remote is to be told after an error.
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.engine.as_ref()?.alert()
    }

    /// The remote's parameters as they came; known until the engine rests.
    pub(super) fn remote_params(&self) -> Option<&[u8]> {
        self.engine.as_ref()?.quic_transport_parameters()
    }

    pub(super) fn kind(&self) -> Option<HandshakeKind> {
        self.engine.as_ref().map_or(self.kind, |engine| engine.handshake_kind())
    }

    pub(super) fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        let kept = Some(&*self.certificates).filter(|kept| !kept.is_empty());
        self.engine.as_ref().map_or(kept, |engine| engine.peer_certificates())
    }

    /// Lets the engine go; who the remote is stays known.
    pub(super) fn rest(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        self.kind = engine.handshake_kind();
        let shown = engine.peer_certificates().unwrap_or_default();
        self.certificates = shown.iter().map(|shown| shown.clone().into_owned()).collect();
    }
}
