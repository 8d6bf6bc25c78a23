//! The plan: a graph lowered to fused steps in stages.
