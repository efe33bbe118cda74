//! The reference and what the suites share.
#![allow(dead_code, reason = "every suite uses a part of it")]

pub mod case;
pub mod fuzz;
pub mod reference;
