//! Our own messages, by our own codec.

use bytes::BytesMut;
use portolan::protocol::{
    Command, ControlMessage, Echo, Event, FrameBuffer, Limits, Message, MessageId, Name,
    ReceiptState, Receipts, Recipient, Reply, RequestId, Send, decode, encode,
};

use super::{Dialect, Gibberish, Heard, Target};

/// A control stream that has logged in.
#[derive(Debug, Default)]
pub(crate) struct Portolan {
    frames: FrameBuffer,
}

impl Portolan {
    /// Takes the next message; `None`: more bytes are needed.
    pub(crate) fn next_message(&mut self) -> Result<Option<ControlMessage>, Gibberish> {
        let gibberish = |error: portolan::protocol::DecodeError| Gibberish(error.to_string());
        let frame = self.frames.next_frame().map_err(gibberish)?;
        frame.map(|frame| decode(&frame).map_err(gibberish)).transpose()
    }
}

/// Appends a request.
pub(crate) fn request(id: u64, command: Command, out: &mut BytesMut) {
    let message = ControlMessage::Request(RequestId(id), command);
    encode(&message, out).expect("what a load says fits into a frame");
}

impl Dialect for Portolan {
    fn say(&mut self, id: u16, to: &Target, text: &str, out: &mut BytesMut) {
        let text = text.to_owned();
        let command = match to {
            Target::User(name) => send(Recipient::User(name_of(name)), text),
            Target::Group(group) => send(Recipient::Group(group.clone()), text),
            Target::All => send(Recipient::All, text),
            Target::Echo => Echo { text }.into(),
        };
        request(id.into(), command, out);
    }

    fn confirm(&mut self, ids: &[u64], out: &mut BytesMut) {
        for ids in ids.chunks(Limits::V1.receipts as usize) {
            let ids = ids.iter().copied().map(MessageId).collect();
            // Confirmations are numbered 0: nobody waits for their answers.
            request(0, Receipts { ids, state: ReceiptState::Delivered }.into(), out);
        }
    }

    fn input(&mut self) -> &mut BytesMut {
        self.frames.bytes_mut()
    }

    fn hear(&mut self) -> Result<Option<Heard>, Gibberish> {
        Ok(self.next_message()?.map(heard))
    }
}

fn heard(message: ControlMessage) -> Heard {
    match message {
        Message::Answer(RequestId(request), Reply::Sent(sent)) => Heard::Stored {
            request,
            copies: Some(u64::from(sent.online) + u64::from(sent.waiting)),
        },
        Message::Answer(RequestId(request), Reply::Echo(_)) => {
            Heard::Stored { request, copies: Some(0) }
        }
        Message::Error(RequestId(request), error) => {
            Heard::Refused { request, why: error.to_string() }
        }
        Message::Event(Event::Message(delivery)) => {
            Heard::Text { id: delivery.id.0, text: delivery.text.into_bytes() }
        }
        Message::Event(Event::Closing(closing)) => Heard::Closing(closing.text),
        Message::Answer(..) | Message::Event(_) | Message::Request(..) => Heard::Other,
    }
}

fn send(to: Recipient, text: String) -> Command {
    Send { to, text, reference: None }.into()
}

/// A name that this load has given.
fn name_of(text: &str) -> Name {
    Name::new(text).expect("names of a load keep the rules")
}

#[cfg(test)]
mod tests {
    use portolan::protocol::{
        ControlMessage, Delivery, Event, Message, MessageId, Recipient, RequestId, Sent, Timestamp,
        encode,
    };

    use super::{Portolan, name_of};
    use crate::load::dialect::{Dialect, Heard, Target};

    #[test]
    fn answers_and_texts_are_heard_in_pieces_of_any_length() {
        let mut bytes = bytes::BytesMut::new();
        let sent = Sent { id: MessageId(9), at: Timestamp(1), online: 2, waiting: 1 };
        let answer: ControlMessage = Message::Answer(RequestId(5), sent.into());
        encode(&answer, &mut bytes).unwrap();
        let delivery = Delivery {
            id: MessageId(9),
            from: name_of("alice"),
            to: Recipient::All,
            text: "hello".into(),
            at: Timestamp(1),
        };
        let event: ControlMessage = Message::Event(Event::Message(delivery));
        encode(&event, &mut bytes).unwrap();
        let mut dialect = Portolan::default();
        let mut heard = Vec::new();
        for byte in bytes {
            dialect.input().extend_from_slice(&[byte]);
            heard.extend(dialect.hear().unwrap());
        }
        let expected = [
            Heard::Stored { request: 5, copies: Some(3) },
            Heard::Text { id: 9, text: b"hello".to_vec() },
        ];
        assert_eq!(heard, expected);
    }

    #[test]
    fn many_confirmations_go_in_as_many_requests_as_they_need() {
        let mut out = bytes::BytesMut::new();
        let ids: Vec<u64> = (0..300).collect();
        Portolan::default().confirm(&ids, &mut out);
        Portolan::default().say(1, &Target::Echo, "x", &mut out);
        let mut other_side = Portolan::default();
        other_side.input().extend_from_slice(&out);
        let mut count = 0;
        while other_side.next_message().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 3);
    }
}
