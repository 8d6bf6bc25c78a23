//! The instruction sets that tests go through.

/// The values of `CANDLEWICK_SIMD` that this processor can run.
pub fn simd_paths() -> Vec<&'static str> {
    use candlewick::engine::cpu::Isa;
    Isa::ALL.iter().filter(|(_, isa)| isa.available()).map(|(name, _)| *name).collect()
}
