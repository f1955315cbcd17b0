//! One end of a cable: the TAP device of a host's interface.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use portolan_netsim::{Addressing, InterfaceId};
use rustix::io::Errno;

use super::{netlink, sys};
use crate::packet::{Frame, Malformed, Offload, Run, VNET_HEADER};

/// An Ethernet header: receiver, sender, type (IEEE 802.3).
const ETHERNET: usize = 14;

/// By so much the kernel's offload header counts from an earlier place than ours.
const SHIFT: u16 = 14;
const ETHERTYPE_V4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_V6: [u8; 2] = [0x86, 0xdd];

/// The other end of every cable. Locally administered, as are the hosts' own.
const NETWORK: [u8; 6] = [0x02, 0x50, 0x4f, 0xff, 0xff, 0xff];

/// What the kernel puts before an IP packet.
const PREFIX: usize = VNET_HEADER + ETHERNET;

/// The longest that a device gives or takes.
pub(super) const FRAME_MAX: usize = PREFIX + 65_535;

/// The device of one interface.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: InterfaceId,
    /// Its name on the host.
    pub(super) name: String,
    hardware: [u8; 6],
    tap: OwnedFd,
}

impl Device {
    /// Makes the device in the network namespace of this thread, and sets it up. `number` is unique
    /// in the world.
    pub(super) fn make(
        id: InterfaceId,
        number: u16,
        name: &str,
        addressing: &Addressing,
    ) -> Result<Self, netlink::Reason> {
        let tap = sys::make_tap(name).map_err(|error| format!("making the device: {error}"))?;
        let [high, low] = number.to_be_bytes();
        let hardware = [0x02, 0x50, 0x4f, 0, high, low];
        netlink::set_up(name, hardware, addressing)?;
        Ok(Self { id, name: name.to_owned(), hardware, tap })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }

    /// Reads what the host sends into `buffer`; `None`: nothing more for now.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match rustix::io::read(&self.tap, &mut *buffer) {
            Ok(length) => Ok(buffer.get(..length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the host what has arrived for it.
    pub(super) fn write(&self, run: &Run, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        buffer.resize(PREFIX, 0);
        let offload = run.write(buffer);
        let header = offload.encode(SHIFT);
        let ethernet = self.ethernet(run.destination());
        if let Some(prefix) = buffer.first_chunk_mut::<PREFIX>() {
            let (before, after) = prefix.split_at_mut(VNET_HEADER);
            before.copy_from_slice(&header);
            after.copy_from_slice(&ethernet);
        }
        match rustix::io::write(&self.tap, buffer) {
            // The device is down: what arrives at it is lost, as it should be.
            Ok(_) | Err(Errno::IO) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ethernet(&self, destination: IpAddr) -> [u8; ETHERNET] {
        let mut header = [0; ETHERNET];
        let kind = if destination.is_ipv4() { ETHERTYPE_V4 } else { ETHERTYPE_V6 };
        header[..6].copy_from_slice(&self.receiver(destination));
        header[6..12].copy_from_slice(&NETWORK);
        header[12..].copy_from_slice(&kind);
        header
    }

    /// The hardware address for groups (RFC 1112 §6.4, RFC 2464 §7) and for the host itself. A
    /// directed broadcast comes as if to the host alone: the kernel takes it by its IP address.
    fn receiver(&self, destination: IpAddr) -> [u8; 6] {
        match destination {
            IpAddr::V4(group) if group.is_multicast() => {
                let [_, b, c, d] = group.octets();
                [0x01, 0x00, 0x5e, b & 0x7f, c, d]
            }
            IpAddr::V4(all) if all.is_broadcast() => [0xff; 6],
            IpAddr::V6(group) if group.is_multicast() => {
                let [.., a, b, c, d] = group.octets();
                [0x33, 0x33, a, b, c, d]
            }
            IpAddr::V4(_) | IpAddr::V6(_) => self.hardware,
        }
    }
}

/// The packet in what a device gave; `None`: it is not IP.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<Frame>, Malformed> {
    let (header, ethernet) = bytes.split_first_chunk().ok_or(Malformed::Short)?;
    let (ethernet, ip) = ethernet.split_first_chunk::<ETHERNET>().ok_or(Malformed::Short)?;
    let kind = [ethernet[12], ethernet[13]];
    if kind != ETHERTYPE_V4 && kind != ETHERTYPE_V6 {
        return Ok(None);
    }
    let mut offload = Offload::decode(*header).ok_or(Malformed::Offload)?;
    if let Some((start, _)) = &mut offload.checksum {
        *start = start.checked_sub(SHIFT).ok_or(Malformed::Offload)?;
    }
    Frame::new(ip, offload).map(Some)
}
