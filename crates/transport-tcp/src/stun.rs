//! STUN over TCP (RFC 8489 §6.2.2): as which a listener sees who connects to it.
//!
//! Its first byte is none of TLS's (RFC 7983 §7), so both are spoken at one port. Who asks has
//! shaken hands with the kernel, so nobody is answered who has not sent from there: there is
//! nothing to amplify.

use std::{io, net::SocketAddr};

use portolan_nat::stun::{Class, HEADER_LEN, MESSAGE_MAX, Message, TransactionId, Writer};
use portolan_transport::Seen;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Questions that are answered on one connection.
const QUESTIONS_MAX: usize = 4;

/// Whether a connection that begins like this speaks STUN.
pub(crate) const fn is_stun(first: u8) -> bool {
    first < 4
}

/// Answers who asks, and keeps the connection until the other side ends it, which keeps the
/// mappings of translators; bounded in time by the caller.
pub(crate) async fn answer(stream: &mut TcpStream, remote: SocketAddr) -> io::Result<()> {
    let mut buffer = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        let question = read(stream).await?;
        let message = Message::decode(&question).map_err(invalid)?;
        if message.class() != Class::Request {
            return Err(invalid("it is no question"));
        }
        Writer::new(&mut buffer, Class::Success, message.transaction())
            .xor_mapped_address(remote)
            .fingerprint()
            .finish();
        stream.write_all(&buffer).await?;
    }
    Ok(())
}

/// Asks who listens at the other end as which it sees us; bounded in time by the caller.
pub(crate) async fn ask(mut stream: TcpStream) -> io::Result<Seen> {
    let mut transaction = [0; 12];
    let random = portolan_identity::provider().secure_random;
    random.fill(&mut transaction).map_err(|_| io::Error::other("no random bytes"))?;
    let transaction = TransactionId(transaction);
    let mut question = Vec::new();
    Writer::new(&mut question, Class::Request, transaction).fingerprint().finish();
    stream.write_all(&question).await?;
    let answer = read(&mut stream).await?;
    let message = Message::decode(&answer).map_err(invalid)?;
    let is_answer = message.class() == Class::Success && message.transaction() == transaction;
    let mapped = message.mapped_address().filter(|_| is_answer);
    let address = mapped.ok_or_else(|| invalid("the answer does not say as which we are seen"))?;
    let kept: std::sync::Arc<dyn std::any::Any + Send + Sync> = std::sync::Arc::new(stream);
    Ok(Seen { address: crate::socket::canonical(address), kept: Some(kept) })
}

/// One message: over a stream its header says where it ends.
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_LEN];
    stream.read_exact(&mut bytes).await?;
    let len = match bytes[..] {
        [_, _, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
        _ => return Err(invalid("there is no header")),
    };
    if HEADER_LEN + len > MESSAGE_MAX {
        return Err(invalid("it is too long for a question or an answer"));
    }
    bytes.resize(HEADER_LEN + len, 0);
    stream.read_exact(&mut bytes[HEADER_LEN..]).await?;
    Ok(bytes)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
