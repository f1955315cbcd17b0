//! Keys of packets: sealing, opening, and the update of keys (RFC 9001 §5 and §6).

use std::{fmt, ops::Range};

use rustls::quic::{DirectionalKeys, HeaderProtectionKey, Keys, PacketKey, PacketKeySet, Secrets};

use crate::packet::{Draft, KeyPhase, expand_number, number_len_of, protected_parts};

/// A packet that was found genuine.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) number: u64,
    /// Where its frames stand in the packet.
    pub(crate) payload: Range<usize>,
}

/// Why a packet was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// Too short, or of a key that was forgotten: nothing was tried.
    Unreadable,
    /// Not sealed by the remote.
    Forged,
}

/// Number and key phase of a packet whose header protection was taken off.
struct Unprotected {
    number: u64,
    payload_at: usize,
    phase: KeyPhase,
}

fn unprotect(
    packet: &mut [u8],
    number_at: usize,
    key: &dyn HeaderProtectionKey,
    largest: Option<u64>,
) -> Option<Unprotected> {
    let (first, number, sample) = protected_parts(packet, number_at)?;
    key.decrypt_in_place(sample, first, number).ok()?;
    let number = expand_number(number.get(..number_len_of(*first))?, largest);
    Some(Unprotected {
        number,
        payload_at: number_at + number_len_of(*first),
        phase: KeyPhase::of(*first),
    })
}

/// A failed try destroys the packet.
fn decrypt(
    packet: &mut [u8],
    header: &Unprotected,
    key: &dyn PacketKey,
) -> Result<Opened, Unopened> {
    let (aad, payload) =
        packet.split_at_mut_checked(header.payload_at).ok_or(Unopened::Unreadable)?;
    let len =
        key.decrypt_in_place(header.number, aad, payload).map_err(|_| Unopened::Forged)?.len();
    let payload = header.payload_at..header.payload_at + len;
    Ok(Opened { number: header.number, payload })
}

fn seal(
    buf: &mut Vec<u8>,
    draft: &Draft,
    packet: &dyn PacketKey,
    header: &dyn HeaderProtectionKey,
) {
    draft.close(buf);
    let (head, payload) = buf.split_at_mut(draft.payload_at);
    let tag = packet
        .encrypt_in_place(draft.number, &head[draft.start..], payload)
        .expect("a packet is shorter than AES-GCM and ChaCha20-Poly1305 allow");
    buf.extend_from_slice(tag.as_ref());
    let parts = protected_parts(&mut buf[draft.start..], draft.number_at - draft.start);
    let (first, number, sample) = parts.expect("a draft is padded for its sample");
    let number = &mut number[..draft.payload_at - draft.number_at];
    header.encrypt_in_place(sample, first, number).expect("a sample of the right length");
}

/// Keys of the Handshake level.
pub(crate) struct HandshakeKeys(pub(crate) Keys);

impl HandshakeKeys {
    pub(crate) fn open(
        &self,
        packet: &mut [u8],
        number_at: usize,
        largest: Option<u64>,
    ) -> Result<Opened, Unopened> {
        let DirectionalKeys { header, packet: key } = &self.0.remote;
        let head = unprotect(packet, number_at, &**header, largest).ok_or(Unopened::Unreadable)?;
        decrypt(packet, &head, &**key)
    }

    pub(crate) fn seal(&self, buf: &mut Vec<u8>, draft: &Draft) {
        seal(buf, draft, &*self.0.local.packet, &*self.0.local.header);
    }
}

/// Keys of the Data level: those before, now and after.
pub(crate) struct DataKeys {
    header_local: Box<dyn HeaderProtectionKey>,
    header_remote: Box<dyn HeaderProtectionKey>,
    previous: Option<Box<dyn PacketKey>>,
    current: PacketKeySet,
    /// Made when it is first needed.
    next: Option<PacketKeySet>,
    /// What the next keys, or those after them, are made from.
    secrets: Secrets,
    phase: KeyPhase,
    /// First number that we sealed with the current keys.
    first_sealed: u64,
    /// Smallest number that was opened with the current keys; `None`: the remote has not changed
    /// to them yet.
    first_opened: Option<u64>,
    /// The remote has acknowledged a packet of the current keys (RFC 9001 §6.1).
    is_confirmed: bool,
    sealed: u64,
    forged: u64,
    pub(crate) updates: u64,
}

/// What opening a packet did to the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    None,
    /// The remote uses the current keys for the first time: the previous ones are needed only for
    /// what is late.
    Switched,
}

impl DataKeys {
    pub(crate) fn new(keys: Keys, secrets: Secrets) -> Self {
        Self {
            header_local: keys.local.header,
            header_remote: keys.remote.header,
            previous: None,
            current: PacketKeySet { local: keys.local.packet, remote: keys.remote.packet },
            next: None,
            secrets,
            phase: KeyPhase::Even,
            first_sealed: 0,
            first_opened: Some(0),
            // Of the first keys, the end of the handshake is the confirmation.
            is_confirmed: true,
            sealed: 0,
            forged: 0,
            updates: 0,
        }
    }

    /// Opens a packet with the key that its phase and number ask for: a wrong try would destroy
    /// it. A packet of the next keys makes them the current ones, if `next_number` (the first that
    /// we would seal with them) can follow.
    pub(crate) fn open(
        &mut self,
        packet: &mut [u8],
        number_at: usize,
        largest: Option<u64>,
        next_number: u64,
    ) -> Result<(Opened, KeyChange), Unopened> {
        let head = unprotect(packet, number_at, &*self.header_remote, largest)
            .ok_or(Unopened::Unreadable)?;
        let result = self.open_with_right_key(packet, &head, next_number);
        if matches!(result, Err(Unopened::Forged)) {
            self.forged += 1;
        }
        result
    }

    fn open_with_right_key(
        &mut self,
        packet: &mut [u8],
        head: &Unprotected,
        next_number: u64,
    ) -> Result<(Opened, KeyChange), Unopened> {
        if head.phase == self.phase {
            let opened = decrypt(packet, head, &*self.current.remote)?;
            let first = self.first_opened;
            self.first_opened = Some(first.map_or(head.number, |first| first.min(head.number)));
            let change = if first.is_none() { KeyChange::Switched } else { KeyChange::None };
            return Ok((opened, change));
        }
        // RFC 9001 §6.3: of the other two keys, the number tells which.
        let is_older = self.first_opened.is_none_or(|first| head.number < first);
        if is_older {
            let key = self.previous.as_ref().ok_or(Unopened::Unreadable)?;
            return Ok((decrypt(packet, head, &**key)?, KeyChange::None));
        }
        let opened = decrypt(packet, head, &*self.next().remote)?;
        self.rotate(next_number);
        self.first_opened = Some(head.number);
        Ok((opened, KeyChange::Switched))
    }

    pub(crate) fn seal(&mut self, buf: &mut Vec<u8>, draft: &Draft) {
        seal(buf, draft, &*self.current.local, &*self.header_local);
        self.sealed += 1;
    }

    pub(crate) fn phase(&self) -> KeyPhase {
        self.phase
    }

    /// Whether the keys may be changed now: the remote has those of the last change, and late
    /// packets of those before have died out (RFC 9001 §6.1, §6.5).
    pub(crate) fn can_update(&self) -> bool {
        self.is_confirmed && self.previous.is_none() && self.first_opened.is_some()
    }

    /// Whether the current keys have sealed as much as they should.
    pub(crate) fn are_worn(&self, after: u64) -> bool {
        self.sealed >= after
    }

    /// Packets that the current keys may seal before `after` makes it time to change them.
    pub(crate) fn room(&self, after: u64) -> u64 {
        after.min(self.current.local.confidentiality_limit()).saturating_sub(self.sealed)
    }

    /// Whether the current keys must not seal any more (RFC 9001 §6.6).
    pub(crate) fn are_spent(&self) -> bool {
        self.sealed >= self.current.local.confidentiality_limit()
    }

    /// Whether so many forgeries were tried that one might succeed (RFC 9001 §6.6).
    pub(crate) fn are_attacked(&self) -> bool {
        self.forged >= self.current.remote.integrity_limit()
    }

    /// Changes to the next keys, from packet `next_number` on.
    pub(crate) fn update(&mut self, next_number: u64) {
        self.rotate(next_number);
        self.first_opened = None;
    }

    /// The keys after the current ones. Most connections end before they need them, so they are
    /// not made ahead: what RFC 9001 §9.5 says of it would hide from an observer's clock at which
    /// packet the phase was seen to change, once, and each such packet that is forged costs no
    /// more than this one time.
    fn next(&mut self) -> &PacketKeySet {
        self.next.get_or_insert_with(|| self.secrets.next_packet_keys())
    }

    fn rotate(&mut self, next_number: u64) {
        let next = self.next.take().unwrap_or_else(|| self.secrets.next_packet_keys());
        let before = std::mem::replace(&mut self.current, next);
        self.previous = Some(before.remote);
        self.phase = self.phase.next();
        self.first_sealed = next_number;
        self.is_confirmed = false;
        self.sealed = 0;
        self.updates += 1;
    }

    pub(crate) fn on_acked(&mut self, number: u64) {
        self.is_confirmed |= number >= self.first_sealed;
    }

    pub(crate) fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Packets that were not the remote's.
    pub(crate) fn forged(&self) -> u64 {
        self.forged
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeys")
            .field("phase", &self.phase)
            .field("updates", &self.updates)
            .field("sealed", &self.sealed)
            .field("forged", &self.forged)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HandshakeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeKeys")
    }
}
