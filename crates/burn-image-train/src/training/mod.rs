//! A run from its recipe to its end: [`start`](Training::start) or [`resume`](Training::resume),
//! [`plan`](Training::plan), [`run`](Training::run).

mod first;
mod plan;
mod run;
mod start;

pub use plan::Plan;
pub use run::Outcome;
pub use start::Training;
