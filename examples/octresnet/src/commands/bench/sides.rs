//! The sides of a comparison.

use burn::tensor::Device;
use burn_octconv::ops::{uses_engine, without_engine};
use burn_octresnet::model::Alpha;
use clap::ValueEnum;
use serde::Serialize;

/// How a network or a layer is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// The vanilla one of Burn's own Conv2d
    #[value(name = "burn-conv2d")]
    BurnConv2d,
    /// The octave one, composed of Burn's operations
    Composed,
    /// The octave one, by this project's engine
    Engine,
}

impl Form {
    /// Runs `work` in this form.
    pub(super) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::Engine => work(),
            Self::BurnConv2d | Self::Composed => without_engine(work),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BurnConv2d => "burn-conv2d",
            Self::Composed => "composed",
            Self::Engine => "engine",
        }
    }
}

/// One side of a comparison: a row of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Side {
    pub(super) form: Form,
    pub(super) alpha: Alpha,
}

const FORMS: [Form; 3] = [Form::BurnConv2d, Form::Composed, Form::Engine];

/// The sides to compare on `device`: those in `rows` or, if there is none in it, all. Composed at
/// α = 0 is what burn-conv2d is, and left out.
pub(super) fn sides(rows: &[Form], alphas: &[Alpha], device: &Device) -> anyhow::Result<Vec<Side>> {
    let has_engine = uses_engine(device);
    if rows.contains(&Form::Engine) && !has_engine {
        anyhow::bail!("this device has no engine: leave `engine` out of --rows");
    }
    let mut sides = Vec::new();
    for form in FORMS {
        let asked = rows.is_empty() || rows.contains(&form);
        if !asked || (form == Form::Engine && !has_engine) {
            continue;
        }
        let alphas = match form {
            Form::BurnConv2d => &[Alpha::Uniform(0.0)],
            Form::Composed | Form::Engine => alphas,
        };
        for &alpha in alphas {
            let side = Side { form, alpha };
            let vanilla = form == Form::Composed && alpha.is_vanilla();
            if !vanilla && !sides.contains(&side) {
                sides.push(side);
            }
        }
    }
    if sides.is_empty() {
        anyhow::bail!("--rows composed needs an --alpha above 0: at 0 it is burn-conv2d");
    }
    Ok(sides)
}

/// What the engine computes with, if one of the sides is its.
pub(super) fn instruction_set(sides: &[Side]) -> Option<&'static str> {
    let engine = sides.iter().any(|side| side.form == Form::Engine);
    engine.then(chosen_instruction_set).flatten()
}

/// What the engine computes with, if this build has one.
pub(super) fn chosen_instruction_set() -> Option<&'static str> {
    #[cfg(feature = "flex")]
    return Some(burn_octconv::ops::instruction_set());
    #[cfg(not(feature = "flex"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: &[Form], alphas: &[f64]) -> anyhow::Result<String> {
        let alphas: Vec<Alpha> = alphas.iter().copied().map(Alpha::from).collect();
        let sides = sides(rows, &alphas, &Device::flex())?;
        let names = sides
            .iter()
            .map(|s| format!("{} {}", s.form.name(), s.alpha));
        Ok(names.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn every_side_comes_once() {
        assert_eq!(
            names(&[], &[0.0, 0.5, 0.5]).unwrap(),
            "burn-conv2d 0, composed 0.5, engine 0, engine 0.5"
        );
        assert_eq!(names(&[Form::Engine], &[0.25]).unwrap(), "engine 0.25");
        assert!(names(&[Form::Composed], &[0.0]).is_err());
    }
}
