//! What `train` says of a run before it begins and after its end.

use std::{env, path::Path, time::Instant};

use burn_image_folder::shown;
use burn_image_train::{
    Backend, DeviceName, Outcome, Plan, Training,
    text::{percent, short_count, thousands},
};

use crate::{
    memory,
    network::{ModelRecipe, stride_words},
};

/// Says what a run is about to do.
pub(super) fn describe(plan: &Plan<ModelRecipe>, resumed: bool) {
    let Plan {
        model,
        images: [train, val],
        steps,
        epochs: [first, last],
        devices,
        ..
    } = plan;
    let (arch, alpha, classes) = (model.arch, model.alpha, plan.classes);
    let stride = stride_words(model.stride);
    let width = match model.width {
        1.0 => String::new(),
        width => format!(", width {width}"),
    };
    if let (Some(cost), Some(vanilla)) = (plan.cost, plan.baseline) {
        eprintln!(
            "{arch}, alpha {alpha}{stride}{width}: {} parameters, {} multiply-adds per image, {} of vanilla",
            thousands(cost.params),
            short_count(cost.macs),
            percent(cost.macs as f64 / vanilla.macs as f64),
        );
    }
    if let (false, Some(init)) = (resumed, &plan.init) {
        eprintln!("first weights from {}", shown(init));
    }
    let on = match devices.names() {
        [device] => format!("device {device}"),
        names => format!("{} devices: {devices}", names.len()),
    };
    eprintln!("{classes} classes, {train} images to train on, {val} to validate on; {on}");
    let [start, highest, end] = plan.lr;
    let on_the_first = match devices.names().len() {
        1 => "",
        _ => " on the first",
    };
    let memory = plan
        .memory
        .map(|memory| format!("; about {} of memory{on_the_first}", bytes(memory)));
    eprintln!(
        "{} steps in all, learning rate from {start:.2e} by {highest:.2e} to {end:.2e}{}",
        thousands(plan.updates as u64),
        memory.unwrap_or_default(),
    );
    let from = match (resumed, first, plan.step) {
        (true, 1, 0) => ", from the start: nothing was saved".into(),
        (true, first, 0) => format!(", going on with epoch {first}"),
        (true, first, step) => format!(", going on with epoch {first} after step {step}"),
        _ => String::new(),
    };
    eprintln!(
        "{last} epochs of {steps} steps into {}{from}; Ctrl-C stops",
        shown(plan.run.root())
    );
}

/// Says so where the processor's memory will hardly do. A system that runs out of it ends the program
/// without a word.
pub(super) fn warn_of_memory(training: &Training<ModelRecipe>, plan: &Plan<ModelRecipe>) {
    let on_processor = matches!(
        plan.devices.first(),
        DeviceName::On {
            backend: Backend::Flex | Backend::NdArray | Backend::Cpu,
            ..
        }
    );
    let available = memory::available().filter(|_| on_processor);
    let (Some(available), Some(needed)) = (available, plan.memory) else {
        return;
    };
    if needed > available {
        let advice = match training.batch_size_within(available) {
            None | Some(0) => "try a smaller network or --size".to_string(),
            Some(images) => format!("try --batch-size {images}"),
        };
        let [needed, available] = [needed, available].map(bytes);
        log::warn!("training takes about {needed} of memory, and {available} are free: {advice}");
    }
}

/// A number of bytes to the precision of a rule of thumb.
fn bytes(count: u64) -> String {
    let megabytes = count as f64 / 1e6;
    match megabytes < 1000.0 {
        true => format!("{megabytes:.0} MB"),
        false => format!("{:.1} GB", megabytes / 1000.0),
    }
}

/// Says how the run ended.
pub(super) fn say(
    outcome: &Outcome,
    plan: &Plan<ModelRecipe>,
    start: Instant,
    page: Option<&Path>,
) {
    let folder = shown(outcome.run.root());
    let [done, epochs] = outcome.epochs;
    if outcome.skipped > 0 {
        eprintln!(
            "{} images could not be read and were left out",
            outcome.skipped
        );
    }
    if let Some(best) = &outcome.best {
        let (top1, top5) = (percent(best.val_top1), percent(best.val_top5));
        eprintln!(
            "best epoch {}: validation top-1 {top1}, top-5 {top5}",
            best.epoch
        );
    }
    if outcome.interrupted() {
        let steps = match outcome.step {
            0 => String::new(),
            step => format!(" and {step} of {} steps", plan.steps),
        };
        eprintln!("stopped after {done} of {epochs} epochs{steps}; go on with:");
        eprintln!(
            "  {} train --resume --output {}",
            program(),
            quoted(outcome.run.root())
        );
    } else if plan.epochs[0] > epochs {
        eprintln!(
            "nothing to do: the run in {folder} has all its {epochs} epochs; give more with --epochs"
        );
    } else {
        if let Some(page) = page {
            eprintln!("report: {}", shown(page));
        }
        eprintln!("done in {:.0} s; try:", start.elapsed().as_secs_f64());
        eprintln!("  {} evaluate {}", program(), quoted(outcome.run.root()));
    }
}

/// The program as it was called, so that a printed line can be used as it is.
fn program() -> String {
    env::args_os()
        .next()
        .map_or("octresnet".into(), |name| quoted(Path::new(&name)))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    if path.to_str() != Some(&text) {
        // Bash and Zsh undo these escapes.
        return format!("$'{}'", path.as_os_str().as_encoded_bytes().escape_ascii());
    }
    let plain = |c: char| c.is_alphanumeric() || "/._-+:\\".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_paths_can_be_pasted() {
        assert_eq!(quoted(Path::new("runs/a-1")), "runs/a-1");
        assert_eq!(quoted(Path::new("my run's")), r"'my run'\''s'");
        assert_eq!(quoted(Path::new("a\nb'c")), r"$'a\nb\'c'");
    }
}
