//! What is told about scripts: error pages, what `check` finds, and the reference.

mod check;
mod division;
mod explain;
mod hidden;
mod page;
pub mod reference;
pub mod searches;
mod shared;
mod unkept;

pub use check::check;
pub use division::{Kind, divisions};
pub use hidden::hidden;
pub use page::{Frame, Location, Page};
pub use shared::shared;
pub use unkept::unkept;
