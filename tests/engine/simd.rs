//! The instruction sets that tests go through.

/// The values of `CANDLEWICK_SIMD` that this processor can run.
pub fn simd_paths() -> Vec<&'static str> {
    use candlewick::engine::Isa;
    Isa::available().map(Isa::name).collect()
}
