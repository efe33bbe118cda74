//! The sides of a comparison.

use burn::tensor::Device;
use burn_octconv::ops::{uses_engine, without_engine};
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
    /// The octave one, layer by layer on this project's engine: what a network of one's own does
    Module,
    /// The octave one, by this project's engine
    Engine,
}

impl Form {
    /// Runs `work` in this form.
    pub(super) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::Module | Self::Engine => work(),
            Self::BurnConv2d | Self::Composed => without_engine(work),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BurnConv2d => "burn-conv2d",
            Self::Composed => "composed",
            Self::Module => "module",
            Self::Engine => "engine",
        }
    }
}

/// One side of a comparison: a row of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Side {
    pub(super) form: Form,
    pub(super) alpha: f64,
}

/// The forms of what has no inference form.
pub(super) const LAYERS: [Form; 3] = [Form::BurnConv2d, Form::Composed, Form::Engine];

/// The sides to compare on `device`: those of the `forms` that are in `rows` or, if there is none in
/// it, of all. Composed at α = 0 is what burn-conv2d is, and left out.
pub(super) fn sides(
    forms: &[Form],
    rows: &[Form],
    alphas: &[f64],
    device: &Device,
) -> anyhow::Result<Vec<Side>> {
    if let Some(other) = rows.iter().find(|row| !forms.contains(row)) {
        let name = other.name();
        anyhow::bail!("there is no `{name}` here: leave it out of --rows, and take `engine`");
    }
    let has_engine = uses_engine(device);
    let of_engine = |form: &Form| matches!(form, Form::Module | Form::Engine);
    if let Some(row) = rows.iter().find(|row| of_engine(row) && !has_engine) {
        let name = row.name();
        anyhow::bail!("this device has no engine: leave `{name}` out of --rows");
    }
    let mut sides = Vec::new();
    for &form in forms {
        let asked = rows.is_empty() || rows.contains(&form);
        if !asked || (of_engine(&form) && !has_engine) {
            continue;
        }
        let alphas = match form {
            Form::BurnConv2d => &[0.0],
            Form::Composed | Form::Module | Form::Engine => alphas,
        };
        for &alpha in alphas {
            let side = Side { form, alpha };
            let vanilla = form == Form::Composed && alpha == 0.0;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: &[Form], alphas: &[f64]) -> anyhow::Result<String> {
        let forms = [Form::BurnConv2d, Form::Composed, Form::Module, Form::Engine];
        let sides = sides(&forms, rows, alphas, &Device::flex())?;
        let names = sides
            .iter()
            .map(|s| format!("{} {}", s.form.name(), s.alpha));
        Ok(names.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn every_side_comes_once() {
        assert_eq!(
            names(&[], &[0.0, 0.5, 0.5]).unwrap(),
            "burn-conv2d 0, composed 0.5, module 0, module 0.5, engine 0, engine 0.5"
        );
        assert_eq!(names(&[Form::Engine], &[0.25]).unwrap(), "engine 0.25");
        assert!(names(&[Form::Composed], &[0.0]).is_err());
        assert!(sides(&LAYERS, &[Form::Module], &[0.5], &Device::flex()).is_err());
    }
}
