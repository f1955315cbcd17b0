//! Who the two ends are, and where their chance comes from.

use portolan_identity::{Identity, PeerId};

/// What one end is made with.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Who it is; made for this one simulation, so that no session is resumed.
    pub(crate) own: Identity,
    /// Who the other end must be.
    pub(crate) remote: PeerId,
    /// Where its endpoint's chance comes from.
    pub(crate) seed: [u8; 32],
}

impl Keys {
    /// Those of the client and of the server: the same for the same seed.
    pub(crate) fn pair(seed: u64) -> [Self; 2] {
        let [alice, bob] = [1, 2].map(|side| Identity::from_seed(bytes(seed, side)));
        let [alice_id, bob_id] = [alice.id(), bob.id()];
        [
            Self { own: alice, remote: bob_id, seed: bytes(seed, 3) },
            Self { own: bob, remote: alice_id, seed: bytes(seed, 4) },
        ]
    }
}

/// Another seed for each use of one.
pub(crate) const fn derive(seed: u64, of: u64) -> u64 {
    // SplitMix64: every output differs from every other.
    let mut mixed = seed.wrapping_add(of.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn bytes(seed: u64, of: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (number, part) in (0..).zip(bytes.chunks_exact_mut(8)) {
        part.copy_from_slice(&derive(derive(seed, of), number).to_be_bytes());
    }
    bytes
}
