//! `--precision f32|f64`.

use candle_core::DType;

/// What scripts compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// Single precision, on the fused engine.
    F32,
    /// Double precision: networks run primitive by primitive, far slower.
    F64,
}

impl Precision {
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}
