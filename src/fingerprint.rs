//! Fingerprints: a short number by which long data are told apart.

/// A running 64-bit FNV-1a hash: the same number on every machine and in every release, which the standard library's
/// hash does not promise. Not made to withstand somebody who wants two data to look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::default().and(bytes)
    }

    /// With more bytes behind.
    pub fn and(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
    }

    /// With a text behind, and its end.
    pub fn and_text(self, text: &str) -> Self {
        self.and(text.as_bytes()).and(&[0xFF])
    }

    /// With numbers behind.
    pub fn and_numbers(self, numbers: &[u32]) -> Self {
        numbers.iter().fold(self, |hash, number| hash.and(&number.to_le_bytes()))
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
