//! MQTT 3.1.1 as far as a load needs it: persistent sessions, QoS 1.
//!
//! Sections are those of the OASIS standard "MQTT Version 3.1.1". It is a codec of our own because
//! what is compared are servers: both sides of the comparison must have the same lean client.

use bytes::{Buf, BufMut, BytesMut};

use super::{Dialect, Gibberish, Heard, Target};

/// The longest packet that is read; a load's texts are far shorter.
const PACKET_MAX: usize = 1 << 20;

/// Quality of service 1, "at least once", in a PUBLISH's flags (§3.3.1.2).
const QOS_1: u8 = 0b0010;

/// A client's connection after CONNECT.
#[derive(Debug, Default)]
pub(crate) struct Mqtt {
    input: BytesMut,
}

/// A packet that a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The answer to CONNECT (§3.2).
    Connected {
        /// 0: accepted.
        code: u8,
    },
    /// The answer to SUBSCRIBE (§3.9).
    Subscribed {
        /// The quality granted, or 0x80.
        code: u8,
    },
    /// A publication with QoS 1 (§3.3).
    Publish {
        /// By which it is acknowledged.
        id: u16,
        /// The payload.
        text: Vec<u8>,
    },
    /// The acknowledgement of ours (§3.4).
    Acknowledged {
        /// Which.
        id: u16,
    },
    /// What a load has no use for.
    Other,
}

impl Mqtt {
    /// CONNECT with a session that outlives the connection (§3.1): "clean session" is 0.
    pub(crate) fn connect(client: &str, out: &mut BytesMut) {
        const NO_KEEP_ALIVE: u16 = 0;
        let length = 10 + 2 + client.len();
        out.put_u8(1 << 4);
        put_length(length, out);
        put_text("MQTT", out);
        out.put_slice(&[4, 0]);
        out.put_u16(NO_KEEP_ALIVE);
        put_text(client, out);
    }

    /// SUBSCRIBE to one topic with QoS 1 (§3.8).
    pub(crate) fn subscribe(topic: &str, out: &mut BytesMut) {
        out.put_u8((8 << 4) | 0b0010);
        put_length(2 + 2 + topic.len() + 1, out);
        out.put_u16(1);
        put_text(topic, out);
        out.put_u8(1);
    }

    /// Takes the next packet; `None`: more bytes are needed.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Packet>, Gibberish> {
        let Some((head, length)) = read_length(&self.input)? else { return Ok(None) };
        if self.input.len() < head + length {
            self.input.reserve(head + length - self.input.len());
            return Ok(None);
        }
        let first = self.input.first().copied().unwrap_or_default();
        self.input.advance(head);
        read_packet(first, &self.input.split_to(length)).map(Some)
    }
}

impl Dialect for Mqtt {
    fn say(&mut self, request: u16, to: &Target, text: &str, out: &mut BytesMut) {
        let topic = match to {
            Target::User(topic) | Target::Group(topic) => topic.as_str(),
            Target::All => "all",
            Target::Echo => "echo",
        };
        out.put_u8((3 << 4) | QOS_1);
        put_length(2 + topic.len() + 2 + text.len(), out);
        put_text(topic, out);
        out.put_u16(request);
        out.put_slice(text.as_bytes());
    }

    fn confirm(&mut self, ids: &[u64], out: &mut BytesMut) {
        for id in ids.iter().filter_map(|&id| u16::try_from(id).ok()) {
            out.put_slice(&[4 << 4, 2]);
            out.put_u16(id);
        }
    }

    fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    fn hear(&mut self) -> Result<Option<Heard>, Gibberish> {
        Ok(self.next_packet()?.map(|packet| match packet {
            Packet::Acknowledged { id } => Heard::Stored { request: id.into(), copies: None },
            Packet::Publish { id, text } => Heard::Text { id: id.into(), text },
            Packet::Connected { .. } | Packet::Subscribed { .. } | Packet::Other => Heard::Other,
        }))
    }
}

fn put_text(text: &str, out: &mut BytesMut) {
    // Topics and names of a load are short.
    out.put_u16(u16::try_from(text.len()).unwrap_or_default());
    out.put_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first (§2.2.3).
fn put_length(mut length: usize, out: &mut BytesMut) {
    loop {
        let low = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        if length == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

/// Bytes of the fixed header, and what follows it; `None`: more are needed.
fn read_length(input: &[u8]) -> Result<Option<(usize, usize)>, Gibberish> {
    let mut length = 0;
    for (index, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match length {
                0..=PACKET_MAX => Ok(Some((index + 2, length))),
                _ => Err(Gibberish(format!("a packet of {length} bytes"))),
            };
        }
    }
    if input.len() > 4 { Err(Gibberish("a length of five bytes".into())) } else { Ok(None) }
}

fn read_packet(first: u8, mut body: &[u8]) -> Result<Packet, Gibberish> {
    let short = || Gibberish(format!("a packet of type {} that is too short", first >> 4));
    let number = |body: &mut &[u8]| body.try_get_u16().map_err(|_| short());
    match first >> 4 {
        2 => Ok(Packet::Connected { code: *body.get(1).ok_or_else(short)? }),
        9 => Ok(Packet::Subscribed { code: *body.get(2).ok_or_else(short)? }),
        4 => Ok(Packet::Acknowledged { id: number(&mut body)? }),
        3 if first & 0b0110 == QOS_1 => {
            let topic = usize::from(number(&mut body)?);
            body = body.get(topic..).ok_or_else(short)?;
            let id = number(&mut body)?;
            Ok(Packet::Publish { id, text: body.to_vec() })
        }
        _ => Ok(Packet::Other),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Mqtt, Packet};
    use crate::load::dialect::{Dialect, Target};

    #[test]
    fn a_session_is_opened_with_the_bytes_of_the_standard() {
        let mut out = BytesMut::new();
        Mqtt::connect("ab", &mut out);
        assert_eq!(&out[..], b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02ab");
        out.clear();
        Mqtt::subscribe("t/1", &mut out);
        assert_eq!(&out[..], b"\x82\x08\x00\x01\x00\x03t/1\x01");
        out.clear();
        Mqtt::default().confirm(&[258], &mut out);
        assert_eq!(&out[..], b"\x40\x02\x01\x02");
    }

    /// What a client publishes is what a subscriber is sent, but for the number.
    #[test]
    fn a_publication_reads_back_in_pieces_of_any_length() {
        for size in [0, 1, 120, 127, 128, 20_000] {
            let text = "x".repeat(size);
            let mut bytes = BytesMut::new();
            Mqtt::default().say(515, &Target::User("to/bob".into()), &text, &mut bytes);
            let mut reader = Mqtt::default();
            let mut found = Vec::new();
            for byte in bytes {
                reader.input().extend_from_slice(&[byte]);
                found.extend(reader.next_packet().unwrap());
            }
            assert_eq!(found, [Packet::Publish { id: 515, text: text.into_bytes() }]);
        }
    }

    #[test]
    fn answers_are_read_and_nonsense_is_refused() {
        let read = |bytes: &[u8]| {
            let mut reader = Mqtt::default();
            reader.input().extend_from_slice(bytes);
            reader.next_packet()
        };
        assert_eq!(read(&[0x20, 2, 0, 5]).unwrap(), Some(Packet::Connected { code: 5 }));
        assert_eq!(read(&[0x90, 3, 0, 1, 1]).unwrap(), Some(Packet::Subscribed { code: 1 }));
        assert_eq!(read(&[0x40, 2, 1, 2]).unwrap(), Some(Packet::Acknowledged { id: 258 }));
        assert_eq!(read(&[0x40]).unwrap(), None);
        assert!(read(&[0x40, 1, 1]).is_err());
        assert!(read(&[0x32, 3, 0, 9, b'x']).is_err());
        assert!(read(&[0x30, 0x80, 0x80, 0x80, 0x80, 1]).is_err());
        assert!(read(&[0x30, 0xff, 0xff, 0x7f, 0]).is_err());
    }
}
