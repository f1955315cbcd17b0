//! What is counted separately at each level: numbers, acknowledgements, handshake bytes.

use std::{
    ops::{Index, IndexMut},
    sync::LazyLock,
    time::{Duration, Instant},
};

use crate::{
    ack::Acknowledger,
    crypto_stream::{CryptoReceiver, CryptoSender},
    ecn::EcnAudit,
    packet::Level,
    sent::SentPackets,
};

/// One space of packet numbers (RFC 9000 §12.3).
#[derive(Debug)]
pub(crate) struct Space {
    /// Never used twice.
    pub(crate) next_number: u64,
    pub(crate) acks: Acknowledger,
    pub(crate) sent: SentPackets,
    pub(crate) ecn: EcnAudit,
    pub(crate) largest_acked: Option<u64>,
    pub(crate) crypto_out: CryptoSender,
    pub(crate) crypto_in: CryptoReceiver,
    /// Packets to be sent whatever the window says, so that the remote answers.
    pub(crate) probes: u8,
    /// When the oldest packet will count as lost, if it was overtaken.
    pub(crate) loss_time: Option<Instant>,
    /// When the last packet that is to be acknowledged was sent.
    pub(crate) last_eliciting: Option<Instant>,
    /// Its keys are gone: nothing is sent or taken any more.
    pub(crate) is_over: bool,
}

impl Space {
    fn new(ack_delay: Duration) -> Self {
        Self {
            next_number: 0,
            acks: Acknowledger::new(ack_delay),
            sent: SentPackets::default(),
            ecn: EcnAudit::default(),
            largest_acked: None,
            crypto_out: CryptoSender::default(),
            crypto_in: CryptoReceiver::default(),
            probes: 0,
            loss_time: None,
            last_eliciting: None,
            is_over: false,
        }
    }

    fn over() -> Self {
        Self { is_over: true, ..Self::new(Duration::ZERO) }
    }

    /// What the remote makes us hold; packets under way are our own doing.
    fn memory(&self) -> usize {
        self.acks.memory() + self.crypto_out.memory() + self.crypto_in.memory()
    }
}

/// The spaces of all levels.
#[derive(Debug)]
pub(crate) struct Spaces {
    /// `None`: both are over.
    early: Option<Box<Early>>,
    data: Space,
}

/// The spaces of the handshake.
#[derive(Debug)]
struct Early {
    init: Space,
    handshake: Space,
}

/// What is left of a space that is over.
static OVER: LazyLock<Space> = LazyLock::new(Space::over);

impl Spaces {
    /// Only those of the Data level hold back acknowledgements.
    pub(crate) fn new(ack_delay: Duration) -> Self {
        let space = || Space::new(Duration::ZERO);
        let early = Early { init: space(), handshake: space() };
        Self { early: Some(Box::new(early)), data: Space::new(ack_delay) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Space> {
        let early = self.early.iter().flat_map(|early| [&early.init, &early.handshake]);
        early.chain([&self.data])
    }

    /// Ends a level of the handshake; answers the bytes that were under way.
    pub(crate) fn end(&mut self, level: Level) -> u64 {
        let bytes = std::mem::replace(&mut self[level], Space::over()).sent.clear();
        self.early = self.early.take().filter(|early| !early.is_over());
        bytes
    }

    pub(crate) fn memory(&self) -> usize {
        self.iter().map(Space::memory).sum()
    }
}

impl Index<Level> for Spaces {
    type Output = Space;

    fn index(&self, level: Level) -> &Space {
        match level {
            Level::Init => self.early.as_ref().map_or(&OVER, |early| &early.init),
            Level::Handshake => self.early.as_ref().map_or(&OVER, |early| &early.handshake),
            Level::Data => &self.data,
        }
    }
}

impl Early {
    fn over() -> Box<Self> {
        Box::new(Self { init: Space::over(), handshake: Space::over() })
    }

    fn is_over(&self) -> bool {
        self.init.is_over && self.handshake.is_over
    }
}

impl IndexMut<Level> for Spaces {
    fn index_mut(&mut self, level: Level) -> &mut Space {
        match level {
            Level::Init => &mut self.early.get_or_insert_with(Early::over).init,
            Level::Handshake => &mut self.early.get_or_insert_with(Early::over).handshake,
            Level::Data => &mut self.data,
        }
    }
}
