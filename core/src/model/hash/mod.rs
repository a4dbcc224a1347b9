//! SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104).
//!
//! `ring` does both. It is partly C, which needs a compiler for WebAssembly of its own; there the same
//! functions are in Rust, and the tests compare the two.

#[cfg(any(target_family = "wasm", test))]
mod portable;
#[cfg(not(target_family = "wasm"))]
mod ring;

#[cfg(target_family = "wasm")]
pub(crate) use self::portable::{HmacSha256, Sha256, sha256};
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::ring::{HmacSha256, Sha256, sha256};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{portable, ring};

    proptest! {
        #[test]
        fn both_say_the_same(
            key in prop::collection::vec(any::<u8>(), 0..200),
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let (mut one, mut other) = (ring::Sha256::new(), portable::Sha256::new());
            for part in &parts {
                one.update(part);
                other.update(part);
            }
            prop_assert_eq!(one.finish(), other.finish());
            prop_assert_eq!(ring::sha256(&key), portable::sha256(&key));
            let (one, other) = (ring::HmacSha256::new(&key), portable::HmacSha256::new(&key));
            prop_assert_eq!(one.of(&parts), other.of(&parts));
            prop_assert_eq!(one.of(&[]), other.of(&[]), "and once more");
        }
    }

    #[test]
    fn and_what_the_specifications_say() {
        // FIPS 180-4, one block message sample; RFC 4231 section 4.3.
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut hash = ring::Sha256::new();
        hash.update(b"a");
        hash.update(b"bc");
        assert_eq!(
            hex(hash.finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(ring::HmacSha256::new(b"Jefe").of(&[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
