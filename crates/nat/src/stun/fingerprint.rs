//! The checksum that tells STUN from other protocols (RFC 8489 §14.7).

/// What the CRC is xor-ed with: "STUN".
const XOR: u32 = 0x5354_554E;

/// The reversed polynomial of ITU V.42's CRC-32.
const POLYNOMIAL: u32 = 0xEDB8_8320;

#[expect(clippy::cast_possible_truncation, reason = "an index below 256")]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// The fingerprint of a message whose length field counts the fingerprint already.
pub(super) fn of(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xFF;
        TABLE[index as usize] ^ (crc >> 8)
    });
    !crc ^ XOR
}
