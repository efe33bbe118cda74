//! Panics as errors.
//!
//! Burn panics where a device fails in the middle of a computation. That is no reason to greet a
//! user with a backtrace.

use std::panic::{self, AssertUnwindSafe};

/// Runs something; a panic becomes an error of one line.
pub(crate) fn contain<T>(run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    panic::set_hook(Box::new(|info| log::debug!("{info}")));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let message = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let line = message.and_then(|message| message.lines().find(|line| !line.trim().is_empty()));
        match line {
            Some(line) if line.contains("from user input") => {
                Err(anyhow::anyhow!("stopped at once"))
            }
            line => Err(anyhow::anyhow!(
                "{} (unexpected: RUST_LOG=debug tells where; please report it)",
                line.unwrap_or("the program failed").trim(),
            )),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_one_line() {
        let error = contain::<()>(|| panic!("\nno memory\nreally"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("no memory (") && !error.contains('\n'),
            "{error}"
        );
        assert_eq!(contain(|| Ok(3)).unwrap(), 3);
    }
}
