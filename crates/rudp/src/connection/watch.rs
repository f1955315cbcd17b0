//! What a connection tells its observer. Every hook is one branch where there is none.

use std::{net::SocketAddr, time::Instant};

use super::Connection;
use crate::{
    CloseReason, ConnectionId, ConnectionStats,
    ack::Acknowledger,
    observe::{
        Dropped, LossSign, LostPacket, Observation, Observer, Owner, PacketKind, PacketView,
        Parameters, Stage, TimerChange,
    },
    packet::{Draft, Level, TAG_LEN},
    params::Params,
    sent::SentPacket,
};

/// An observer, and what it was told last, so that only news is told.
#[derive(Debug)]
pub(super) struct Watch {
    observer: Box<dyn Observer>,
    now: Instant,
    phase: Option<&'static str>,
    metrics: Option<ConnectionStats>,
    loss_timer: Option<Instant>,
    packet_size: usize,
    generation: u64,
    remote: SocketAddr,
}

impl Watch {
    fn tell(&mut self, event: Observation<'_>) {
        self.observer.observe(self.now, event);
    }
}

impl Connection {
    /// Lets `observer` see everything from here on; one that was set before is dropped. To see
    /// it all, a host calls it before anything else.
    pub fn observe(&mut self, now: Instant, observer: Box<dyn Observer>) {
        let mut watch = Watch {
            observer,
            now,
            phase: None,
            metrics: None,
            loss_timer: None,
            packet_size: self.path.packet_size(),
            remote: self.path.route.remote,
            generation: self.data_keys.as_ref().map_or(0, |keys| keys.updates),
        };
        watch.tell(Observation::Stage(Stage::Attempted));
        self.watch = Some(Box::new(watch));
        self.watch_estimates();
    }

    /// The connection ID by which both ends know the connection before any other: what the client
    /// first called the server. For the names of logs.
    #[must_use]
    pub fn original_id(&self) -> ConnectionId {
        self.names.original
    }

    /// Time has come so far.
    #[inline]
    pub(super) fn watch_time(&mut self, now: Instant) {
        if let Some(watch) = &mut self.watch {
            watch.now = watch.now.max(now);
        }
    }

    /// `draft` is about to be sealed.
    #[inline]
    pub(super) fn watch_sent(&mut self, draft: &Draft, buf: &[u8]) {
        if self.watch.is_some() {
            self.tell_sent(draft, buf);
        }
    }

    #[cold]
    fn tell_sent(&mut self, draft: &Draft, buf: &[u8]) {
        self.tell_keys(Owner::Local);
        let Some(watch) = &mut self.watch else { return };
        let packet = PacketView {
            kind: PacketKind::of(draft.level),
            number: draft.number,
            size: buf.len().saturating_sub(draft.start) + TAG_LEN,
            destination: self.names.remote,
            payload: buf.get(draft.payload_at..).unwrap_or_default(),
        };
        watch.tell(Observation::Sent(packet));
    }

    /// A packet of `size` bytes was found genuine; `payload` will be read next.
    #[inline]
    pub(super) fn watch_received(
        &mut self,
        level: Level,
        number: u64,
        size: usize,
        payload: &[u8],
    ) {
        if self.watch.is_some() {
            self.tell_received(level, number, size, payload);
        }
    }

    #[cold]
    fn tell_received(&mut self, level: Level, number: u64, size: usize, payload: &[u8]) {
        self.tell_keys(Owner::Remote);
        let acks: &Acknowledger = &self.spaces[level].acks;
        let is_new = acks.is_new(number);
        let destination = self.names.local;
        let Some(watch) = &mut self.watch else { return };
        let kind = PacketKind::of(level);
        watch.tell(match is_new {
            true => Observation::Received(PacketView { kind, number, size, destination, payload }),
            false => Observation::Dropped { size, why: Dropped::Duplicate },
        });
    }

    /// Nothing is done with a packet of `size` bytes.
    #[inline]
    pub(super) fn watch_dropped(&mut self, size: usize, why: Dropped) {
        if let Some(watch) = &mut self.watch {
            watch.tell(Observation::Dropped { size, why });
        }
    }

    /// A packet counts as lost, by the acknowledgement of `acked`.
    #[inline]
    pub(super) fn watch_lost(&mut self, level: Level, number: u64, packet: &SentPacket) {
        if let Some(watch) = &mut self.watch {
            let acked = self.spaces[level].largest_acked.unwrap_or(number);
            let why = match packet.is_size_probe {
                true => LossSign::SizeProbe,
                false if acked.saturating_sub(number) >= self.path.reordering.packets() => {
                    LossSign::Reordering
                }
                false => LossSign::Time,
            };
            let kind = PacketKind::of(level);
            watch.tell(Observation::Lost(LostPacket { kind, number, size: packet.size, why }));
        }
    }

    /// Estimates may have changed: whatever has is told.
    #[inline]
    pub(super) fn watch_estimates(&mut self) {
        if self.watch.is_some() {
            self.tell_estimates();
        }
    }

    #[cold]
    fn tell_estimates(&mut self) {
        let (stats, phase) = (self.stats(), self.path.congestion.phase());
        let Some(watch) = &mut self.watch else { return };
        if watch.packet_size != stats.packet_size {
            let old = std::mem::replace(&mut watch.packet_size, stats.packet_size);
            watch.tell(Observation::PacketSize { old, new: stats.packet_size });
        }
        if watch.phase != Some(phase) {
            let old = watch.phase.replace(phase);
            watch.tell(Observation::Phase { old, new: phase });
        }
        if watch.metrics != Some(stats) {
            watch.metrics = Some(stats);
            watch.tell(Observation::Metrics(&stats));
        }
    }

    /// The timer of losses may have changed.
    #[inline]
    pub(super) fn watch_loss_timer(&mut self, at: Option<Instant>) {
        if let Some(watch) = &mut self.watch
            && watch.loss_timer != at
        {
            watch.loss_timer = at;
            watch.tell(Observation::LossTimer(at.map_or(TimerChange::Stopped, TimerChange::Set)));
        }
    }

    /// The timer of losses has gone off.
    #[inline]
    pub(super) fn watch_loss_timeout(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.loss_timer = None;
            watch.tell(Observation::LossTimer(TimerChange::Expired));
        }
    }

    /// The path may have changed.
    #[inline]
    pub(super) fn watch_moved(&mut self) {
        let new = self.path.route.remote;
        if let Some(watch) = &mut self.watch
            && watch.remote != new
        {
            let old = std::mem::replace(&mut watch.remote, new);
            watch.tell(Observation::RemoteMoved { old, new });
        }
    }

    /// The connection is one step further.
    #[inline]
    pub(super) fn watch_stage(&mut self, stage: Stage) {
        if let Some(watch) = &mut self.watch {
            watch.tell(Observation::Stage(stage));
        }
    }

    /// The connection is over.
    #[inline]
    pub(super) fn watch_closed(&mut self, reason: &CloseReason, stage: Stage) {
        if let Some(watch) = &mut self.watch {
            watch.tell(Observation::Stage(stage));
            watch.tell(Observation::Closed(reason));
        }
    }

    /// The handshake has authenticated what the remote says of itself.
    #[inline]
    pub(super) fn watch_params(&mut self, remote: &Params) {
        if self.watch.is_some() {
            let local = super::params(&self.config, self.names.local);
            self.tell_params(Owner::Local, &Params { mux: self.mux.params(), ..local });
            self.tell_params(Owner::Remote, remote);
        }
    }

    #[cold]
    fn tell_params(&mut self, owner: Owner, params: &Params) {
        let Some(watch) = &mut self.watch else { return };
        watch.tell(Observation::Parameters(Parameters {
            owner,
            idle_ms: u64::try_from(params.idle.as_millis()).unwrap_or(u64::MAX),
            packet_max: params.packet_max,
            ack_delay_us: u64::try_from(params.ack_delay.as_micros()).unwrap_or(u64::MAX),
            mux: params.mux,
        }));
    }

    /// Tells if the keys have changed since it was last asked.
    fn tell_keys(&mut self, by: Owner) {
        let generation = self.data_keys.as_ref().map_or(0, |keys| keys.updates);
        if let Some(watch) = &mut self.watch
            && watch.generation != generation
        {
            watch.generation = generation;
            watch.tell(Observation::KeysUpdated { generation, by });
        }
    }
}
