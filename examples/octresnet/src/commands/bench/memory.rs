//! Peak memory of a training step, measured in a process of its own: this program again.

use std::{env, fs, process::Command};

use anyhow::Context;
use burn_image_train::{Backend, DeviceName};
use burn_octresnet::model::Alpha;

use super::{NetworkArgs, RunArgs, sides::Side};

/// Whether the memory of this process tells what a device needs.
pub(super) fn is_known(device: &DeviceName) -> bool {
    let on_processor = matches!(
        device,
        DeviceName::On {
            backend: Backend::Flex | Backend::NdArray,
            ..
        }
    );
    on_processor && peak().is_some()
}

/// The most memory that this process has held so far, in bytes; `None` on systems other than Linux.
pub(super) fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The flags that choose a network.
fn choice(alpha: Alpha) -> [String; 2] {
    match alpha {
        Alpha::Shares([a, b, c]) => ["--shares".into(), format!("{a};{b};{c}")],
        alpha => ["--alpha".into(), alpha.to_string()],
    }
}

/// Peak memory of training steps in a process that does nothing else, in bytes.
pub(super) fn of_training(
    side: Side,
    network: &NetworkArgs,
    run: &RunArgs,
    batch: u32,
) -> anyhow::Result<u64> {
    let program = env::current_exe().context("finding this program")?;
    let isa = run.isa.iter().flat_map(|isa| ["--isa", isa]);
    let output = Command::new(program)
        .args(["bench", "train", "--print-peak"])
        .args(["--device", &run.device.to_string()])
        .args(isa)
        .args(["--rows", side.form.name()])
        .args(choice(side.alpha))
        .args(["--batch", &batch.to_string()])
        .args(["--arch", network.arch.name()])
        .args(["--stride", &network.stride.to_string()])
        .args(["--width", &network.width.to_string()])
        .args(["--size", &network.size().to_string()])
        .output()
        .context("measuring memory in another process")?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| {
        let error = String::from_utf8_lossy(&output.stderr);
        let line = error
            .lines()
            .last()
            .unwrap_or("it said nothing")
            .to_string();
        anyhow::anyhow!(
            "the process that measures memory failed: {line}; leave it out with --no-memory"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_sees_a_large_buffer() {
        let before = peak().unwrap();
        let buffer = vec![1u8; 1 << 28];
        assert_eq!(
            buffer.iter().map(|&b| usize::from(b)).sum::<usize>(),
            1 << 28
        );
        assert!(peak().unwrap() >= before.max(1 << 28));
    }
}
