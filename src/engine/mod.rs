//! The engine: runs a plan as one differentiable candle operation.
