//! Parities over a group of messages: from the messages of a group that arrived and as many
//! parities as messages are missing, the missing ones are computed.
//!
//! A shard is the length of a message in two bytes, the message, and zeros up to the longest of
//! its group. Parity `j` is the sum over `i` of shard `i` times `x^(i j)` in GF(2^8) with the
//! polynomial 0x11d: parity 0 is the exclusive or of all, and any three parities are as good as
//! any others, since their factors form a Vandermonde matrix.

/// Messages in one group, at most.
pub(crate) const MEMBERS_MAX: usize = 16;

/// Parities of one group, at most.
pub(crate) const PARITIES_MAX: usize = 3;

/// Bytes of the length before a message.
pub(super) const LENGTH: usize = 2;

const POLYNOMIAL: u16 = 0x11d;

/// Powers of `x`, twice, so that sums of two logarithms need no reduction.
const EXP: [u8; 510] = powers();
const LOG: [u8; 256] = logarithms();

const fn powers() -> [u8; 510] {
    let (mut table, mut value, mut at) = ([0; 510], 1_u16, 0);
    while at < 510 {
        table[at] = value.to_le_bytes()[0];
        value <<= 1;
        if value > 0xff {
            value ^= POLYNOMIAL;
        }
        at += 1;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let (mut table, mut at) = ([0; 256], 0_u8);
    while at < 255 {
        table[EXP[at as usize] as usize] = at;
        at += 1;
    }
    table
}

fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + usize::from(LOG[usize::from(b)])]
}

fn inverse(a: u8) -> u8 {
    EXP[255 - usize::from(LOG[usize::from(a)])]
}

/// The factor of member `member` in parity `parity`.
fn factor(member: usize, parity: usize) -> u8 {
    EXP[member * parity % 255]
}

/// Adds `bytes` times `by` to `sum` from `at` on; `sum` is long enough.
fn add(sum: &mut [u8], at: usize, bytes: &[u8], by: u8) {
    let Some(sum) = sum.get_mut(at..) else { return };
    if by == 1 {
        sum.iter_mut().zip(bytes).for_each(|(sum, byte)| *sum ^= byte);
    } else {
        sum.iter_mut().zip(bytes).for_each(|(sum, &byte)| *sum ^= multiply(byte, by));
    }
}

/// Adds message `member` to parity `parity`, which grows to its length.
pub(super) fn add_member(sum: &mut Vec<u8>, parity: usize, member: usize, payload: &[u8]) {
    let len = LENGTH + payload.len();
    if sum.len() < len {
        sum.resize(len, 0);
    }
    let by = factor(member, parity);
    let prefix = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    add(sum, 0, &prefix, by);
    add(sum, LENGTH, payload, by);
}

/// A parity that arrived: which, and its bytes.
pub(super) type Parity<'a> = (usize, &'a [u8]);

/// The missing messages, in the order of `missing`; `None` if the parities are too few, or do not
/// belong to what is there.
pub(super) fn recover(
    present: &[(usize, &[u8])],
    missing: &[usize],
    parities: &[Parity<'_>],
) -> Option<Vec<Vec<u8>>> {
    let rows = parities.get(..missing.len())?;
    let mut sums: Vec<Vec<u8>> = Vec::new();
    let mut matrix = [[0; PARITIES_MAX]; PARITIES_MAX];
    for (row, &(parity, bytes)) in rows.iter().enumerate() {
        let mut sum = bytes.to_vec();
        for &(member, payload) in present {
            if LENGTH + payload.len() > sum.len() {
                return None;
            }
            add_member(&mut sum, parity, member, payload);
        }
        for (column, &member) in missing.iter().enumerate() {
            *matrix.get_mut(row)?.get_mut(column)? = factor(member, parity);
        }
        sums.push(sum);
    }
    eliminate(&mut matrix, &mut sums)?;
    sums.into_iter().map(message).collect()
}

/// Solves the equations by Gauss and Jordan; the sums become the shards.
fn eliminate(matrix: &mut [[u8; PARITIES_MAX]; PARITIES_MAX], sums: &mut [Vec<u8>]) -> Option<()> {
    let count = sums.len();
    for step in 0..count {
        let pivot = (step..count).find(|&row| matrix[row][step] != 0)?;
        matrix.swap(step, pivot);
        sums.swap(step, pivot);
        let by = inverse(matrix[step][step]);
        matrix[step].iter_mut().for_each(|cell| *cell = multiply(*cell, by));
        sums[step].iter_mut().for_each(|byte| *byte = multiply(*byte, by));
        let (cells, sum) = (matrix[step], sums[step].clone());
        for row in (0..count).filter(|row| *row != step) {
            let by = matrix[row][step];
            add(&mut matrix[row], 0, &cells, by);
            if sums[row].len() < sum.len() {
                sums[row].resize(sum.len(), 0);
            }
            add(&mut sums[row], 0, &sum, by);
        }
    }
    Some(())
}

fn message(shard: Vec<u8>) -> Option<Vec<u8>> {
    let (prefix, payload) = shard.split_first_chunk::<LENGTH>()?;
    let len = usize::from(u16::from_be_bytes(*prefix));
    payload.get(..len).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parities(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sums = vec![Vec::new(); PARITIES_MAX];
        for (parity, sum) in sums.iter_mut().enumerate() {
            for (member, payload) in messages.iter().enumerate() {
                add_member(sum, parity, member, payload);
            }
        }
        sums
    }

    #[test]
    fn every_loss_of_up_to_three_is_made_good_by_any_parities() {
        let messages: Vec<Vec<u8>> =
            (0..16_u8).map(|member| vec![member * 7 + 1; usize::from(member) * 3]).collect();
        assert_eq!(messages.len(), MEMBERS_MAX);
        let sums = parities(&messages);
        for lost in 1_u32..1 << MEMBERS_MAX {
            for kept in 1_u32..1 << PARITIES_MAX {
                if lost.count_ones() > 3 || kept.count_ones() < lost.count_ones() {
                    continue;
                }
                let is_lost = |member: &usize| lost >> member & 1 == 1;
                let (missing, there): (Vec<_>, Vec<_>) = (0..MEMBERS_MAX).partition(is_lost);
                let present: Vec<_> = there.iter().map(|&at| (at, &messages[at][..])).collect();
                let given: Vec<_> = (0..PARITIES_MAX)
                    .filter(|parity| kept >> parity & 1 == 1)
                    .map(|parity| (parity, &sums[parity][..]))
                    .collect();
                let found = recover(&present, &missing, &given).expect("enough parities");
                for (member, payload) in missing.iter().zip(found) {
                    assert_eq!(payload, messages[*member]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            present in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5),
            sums in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4),
        ) {
            let there: Vec<_> = present.iter().map(|payload| &payload[..]).enumerate().collect();
            let given: Vec<_> = sums.iter().map(|sum| &sum[..]).enumerate().collect();
            for missing in [&[6][..], &[6, 9], &[6, 9, 15]] {
                let _ = recover(&there, missing, &given);
            }
        }
    }
}
