use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    error::TrainError,
    text::{first_line, panic_message},
};

/// Runs something on devices; a panic becomes an error.
pub(super) fn contain<T>(
    batch_size: usize,
    compute: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let reason = match catch_unwind(AssertUnwindSafe(compute)) {
        // What a device could not do may also show only where its results are read.
        Ok(Err(TrainError::Stopped(reason))) => reason,
        Ok(result) => return result,
        Err(panic) => first_line(panic_message(&*panic)),
    };
    let lower = reason.to_lowercase();
    // Each backend has its own words.
    let memory = ["out of memory", "outofmemory", "out_of_memory", "allocat"];
    Err(match memory.iter().any(|word| lower.contains(word)) {
        true => TrainError::OutOfMemory {
            batch_size,
            smaller: (batch_size / 2).max(1),
            reason,
        },
        false => TrainError::Stopped(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_device_is_told_from_a_broken_one() {
        let message = |text: &'static str| {
            let failed: Result<(), _> = contain(48, || panic!("{text}"));
            failed.unwrap_err().to_string()
        };
        for text in [
            "CUDA_ERROR_OUT_OF_MEMORY",
            "Out of memory (os error 12)",
            "OutOfMemory",
        ] {
            assert!(message(text).contains("try --batch-size 24"), "{text}");
        }
        let read: Result<(), _> = contain(48, || Err(TrainError::stopped("Out of memory")));
        let read = read.unwrap_err().to_string();
        assert!(read.contains("try --batch-size 24"), "{read}");
        assert_eq!(message("no kernel\nline 2"), "training stopped: no kernel");
    }
}
