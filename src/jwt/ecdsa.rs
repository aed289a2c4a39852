//! Signatures of P-256 as tokens have them, two numbers of 32 bytes (RFC 7518 §3.4), and as everybody else has them, in
//! DER (RFC 3279 §2.2.3).

/// Bytes of a number.
const NUMBER: usize = 32;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// The two numbers of a signature in DER.
pub(super) fn numbers(der: &[u8]) -> Option<[u8; 2 * NUMBER]> {
    let [SEQUENCE, length, inside @ ..] = der else { return None };
    let (first, rest) = number(inside).filter(|_| usize::from(*length) == inside.len())?;
    let (second, []) = number(rest)? else { return None };
    let mut both = [0; 2 * NUMBER];
    for (digits, end) in [(first, NUMBER), (second, 2 * NUMBER)] {
        both.get_mut(end - digits.len()..end)?.copy_from_slice(digits);
    }
    Some(both)
}

/// The next number without zeros before it, and what stands behind it. Lengths here are below 128.
fn number(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [INTEGER, length, rest @ ..] = der else { return None };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    let digits = without_zeros(digits);
    (digits.len() <= NUMBER).then_some((digits, rest))
}

/// A signature in DER of its two numbers.
pub(super) fn der(numbers: &[u8]) -> Option<Vec<u8>> {
    let numbers: &[u8; 2 * NUMBER] = numbers.try_into().ok()?;
    let mut inside = Vec::with_capacity(2 * (NUMBER + 3));
    for number in numbers.chunks(NUMBER) {
        let digits = without_zeros(number);
        // A first bit that is set would make it negative, and none at all is no number.
        let zero = digits.first().is_none_or(|first| *first >= 0x80);
        inside.extend_from_slice(&[INTEGER, (digits.len() + usize::from(zero)) as u8]);
        inside.extend_from_slice(&[0][..usize::from(zero)]);
        inside.extend_from_slice(digits);
    }
    Some([&[SEQUENCE, inside.len() as u8], &inside[..]].concat())
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|digit| **digit == 0).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_both_forms() {
        let of = |first: &[u8], second: &[u8]| {
            let mut both = [0; 64];
            both[32 - first.len()..32].copy_from_slice(first);
            both[64 - second.len()..].copy_from_slice(second);
            both
        };
        let table: [(_, &[u8]); 4] = [
            (of(&[1], &[2]), &[0x30, 6, 2, 1, 1, 2, 1, 2]),
            (of(&[0x80], &[0x7f, 0xff]), &[0x30, 8, 2, 2, 0, 0x80, 2, 2, 0x7f, 0xff]),
            (of(&[], &[1]), &[0x30, 6, 2, 1, 0, 2, 1, 1]),
            (of(&[], &[]), &[0x30, 6, 2, 1, 0, 2, 1, 0]),
        ];
        for (both, in_der) in table {
            assert_eq!(der(&both).as_deref(), Some(in_der));
            assert_eq!(numbers(in_der), Some(both));
        }
        let full = of(&[0xff; 32], &[0xff; 32]);
        assert_eq!(der(&full).and_then(|der| numbers(&der)), Some(full));
    }

    #[test]
    fn what_is_no_signature_is_none_in_the_other_form() {
        assert_eq!((der(&[1; 63]), der(&[1; 65]), der(&[])), (None, None, None));
        let table: [&[u8]; 7] = [
            b"",
            &[0x30, 6, 2, 1, 1],
            &[0x30, 6, 2, 1, 1, 2, 9, 2],
            &[0x30, 7, 2, 1, 1, 2, 1, 2],
            &[0x30, 7, 2, 1, 1, 2, 1, 2, 0],
            &[0x31, 6, 2, 1, 1, 2, 1, 2],
            &[0x30, 0x80],
        ];
        for bad in table {
            assert_eq!(numbers(bad), None, "{bad:?}");
        }
        let long = [&[0x30, 38, 2, 33][..], &[1; 33], &[2, 1, 1]].concat();
        assert_eq!(numbers(&long), None);
    }
}
