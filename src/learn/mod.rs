//! Learning: optimisers, schedules, the two gradients of a bilevel search, and evaluation.
//!
//! [`bilevel`] is the mathematics, over any pair of losses of weights and mixing weights; [`classify`] is that pair for
//! a network and batches of labelled images. Optimisers work on lists of variables and know nothing of networks.
//! [`scratch`] scores cells by training their networks from scratch.

pub mod bilevel;
pub mod classify;
pub mod curvature;
pub mod evaluate;
pub mod exact;
pub mod examine;
pub mod language;
pub mod loss;
pub mod optimizer;
pub mod schedule;
pub mod scratch;
mod settled;
mod vector;

pub use crate::batch::Batch;
pub use bilevel::{Clip, Order, Relax, Unroll, With};
pub use classify::{
    Extra, OwnLoss, Way, alpha_gradient, alpha_gradient_by, hessian_vector, weight_gradient, weight_gradient_by,
};
pub use curvature::{Curvature, largest_eigenvalue};
pub use evaluate::{Hits, Score, evaluate, evaluate_by};
pub use exact::{ExactGradient, Near, Parts, exact};
pub use examine::{ClassScore, Examination, Verdict, examine};
pub use language::{Excerpt, Penalties, Surprise, evaluate_language, language_alpha_gradient, language_gradient};
pub use loss::{Loss, cross_entropy};
pub use optimizer::{Adam, AdamOptions, Asgd, AsgdOptions, Optimizer, Sgd, SgdOptions};
pub use scratch::{CellScore, ImageTraining, ScoreCache, TextTraining, score_all};
pub use vector::{gradients, norm};
