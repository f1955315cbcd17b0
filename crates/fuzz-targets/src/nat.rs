//! What strangers send to a port that speaks STUN.

use portolan_nat::{
    Agent, AgentConfig, Candidate, CandidateKind, Door, Families, Loopback, Responder,
    ResponderLimits, Role, SocketId,
    stun::{AttributeType, Class, ErrorCode, Message, TransactionId, Writer},
};

use crate::start;

const ID: TransactionId = TransactionId([7; 12]);
const TICKET: &[u8] = b"a ticket";

fn agent(role: Role) -> Agent {
    let mut config = AgentConfig::new(role, TICKET, [1; 32]);
    config.loopback = Loopback::Allowed;
    let mut agent = Agent::new(config, start());
    agent.add_socket(start(), SocketId(0), Families::Both);
    let remote = Candidate::new(CandidateKind::Host, ([192, 0, 2, 7], 7).into(), 0);
    agent.add_remote(start(), remote).expect("an address that can be a peer's");
    agent
}

pub(crate) fn stun(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        // Nothing that can be asked of it may fail, and what is read is within its bytes.
        let total: usize = message.attributes().map(|found| 4 + found.value.len()).sum();
        assert!(total <= bytes.len(), "attributes lie within the message");
        let _asked = (
            message.username(),
            message.mapped_address(),
            message.plain_address(AttributeType::OTHER_ADDRESS),
            message.number(AttributeType::PRIORITY),
            message.error_code(),
            message.is_sealed_by(TICKET),
            message.not_understood().count(),
        );
    }
    let mut responder = Responder::new(ResponderLimits::default(), start());
    let (mut out, from) = (Vec::new(), ([192, 0, 2, 7], 7).into());
    let came = (Door::default(), from);
    if responder.handle_datagram(start(), came, bytes, &mut out).is_some() {
        assert!(out.len() <= 3 * bytes.len(), "no answer is three times as long as its question");
        assert!(Message::decode(&out).is_ok(), "an answer is a message");
    }
    let mut agent = agent(Role::Controlled);
    agent.handle_datagram(start(), SocketId(0), from, bytes);
    agent.handle_timeout(start());
    while agent.poll_transmit(start(), &mut out).is_some() {
        assert!(Message::decode(&out).is_ok(), "what is sent is a message");
    }
}

pub(crate) fn stun_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut bytes = Vec::new();
    // A check that is meant for the agent and authentic.
    agent(Role::Controlling).poll_transmit(start(), &mut bytes).expect("a check is due");
    seeds.push(bytes.clone());
    for address in [([192, 0, 2, 1], 80).into(), ([0x2001_u16, 0xDB8, 0, 0, 0, 0, 0, 1], 80).into()]
    {
        Writer::new(&mut bytes, Class::Success, ID)
            .xor_mapped_address(address)
            .plain_address(AttributeType::OTHER_ADDRESS, address)
            .seal_sha1(TICKET)
            .seal(TICKET)
            .fingerprint()
            .finish();
        seeds.push(bytes.clone());
    }
    for change in [0, 2, 4, 6] {
        Writer::new(&mut bytes, Class::Request, ID)
            .number(AttributeType::CHANGE_REQUEST, change)
            .attribute(AttributeType::PADDING, &[0; 9])
            .finish();
        seeds.push(bytes.clone());
    }
    Writer::new(&mut bytes, Class::Error, ID).error(ErrorCode::UNKNOWN_ATTRIBUTE).finish();
    seeds.push(bytes);
    seeds
}
