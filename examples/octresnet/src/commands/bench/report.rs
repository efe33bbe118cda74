//! Results as JSON and as a table.

use burn_octresnet::model::Alpha;
use serde::Serialize;

use super::{
    sides::{Form, Side},
    timing::{Summary, Times},
};
use crate::output::{print, print_json};

/// One comparison: everything measured in turns, at one batch size.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) device: String,
    /// What the engine computes with, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) isa: Option<&'static str>,
    pub(super) batch: u32,
    pub(super) size: usize,
    pub(super) rows: Vec<Row>,
    /// What was measured, for the table.
    #[serde(skip)]
    pub(super) title: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: Form,
    alpha: Alpha,
    /// Which part of the work, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<&'static str>,
    #[serde(flatten)]
    time: Summary,
    /// Multiply–adds of the whole batch, where the JSON has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) macs: Option<u64>,
    /// Peak memory of a process that did nothing else, in bytes; `Some(None)` where it cannot be
    /// told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_bytes: Option<Option<u64>>,
    /// Multiply–adds of the vanilla side, relative to this one.
    #[serde(skip)]
    theory: f64,
    #[serde(skip)]
    rounds: usize,
}

impl Row {
    /// `macs` are those of this side and of the vanilla one.
    pub(super) fn new(side: Side, times: &Times, [macs, vanilla]: [u64; 2]) -> Self {
        Self {
            name: side.form,
            alpha: side.alpha,
            pass: None,
            time: times.summary(),
            macs: None,
            peak_bytes: None,
            theory: vanilla as f64 / macs as f64,
            rounds: times.rounds(),
        }
    }

    fn is(&self, form: Form, other: &Self) -> bool {
        self.name == form && self.pass == other.pass
    }
}

impl Comparison {
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        match json {
            true => print_json(self),
            false => print(&self.table()),
        }
    }

    /// The rows with their ratios to the vanilla side, and below them what α brings in each form.
    fn table(&self) -> String {
        let Self {
            isa,
            batch,
            size,
            title,
            rows,
            ..
        } = self;
        let isa = isa.map_or(String::new(), |isa| format!(" with {isa}"));
        let device = format!("{}{isa}", self.device);
        let rounds = rows.first().map_or(0, |row| row.rounds);
        let memory = rows.iter().any(|row| row.peak_bytes.is_some());
        let passes = rows.iter().any(|row| row.pass.is_some());
        let mut text = format!(
            "{title}, {size}x{size} pixels, batch {batch}, {device}, {rounds} rounds, ms\n\
             {:12} {:>6}{} {:>10} {:>10} {:>10} {:>9} {:>7}",
            "",
            "alpha",
            if passes { "           " } else { "" },
            "median",
            "min",
            "max",
            "speed-up",
            "theory"
        );
        if memory {
            text += "    peak MiB";
        }
        for row in rows {
            let Summary {
                median_ms,
                min_ms,
                max_ms,
            } = row.time;
            let pass = row.pass.map_or(String::new(), |pass| format!(" {pass:10}"));
            let vanilla = rows.iter().find(|other| other.is(Form::BurnConv2d, row));
            text += &format!(
                "\n{:12} {:>6}{pass} {median_ms:>10.2} {min_ms:>10.2} {max_ms:>10.2} {:>9} {:>7.2}",
                row.name.name(),
                row.alpha.to_string(),
                vanilla.map_or("-".into(), |v| format!(
                    "{:.2}",
                    v.time.median_ms / median_ms
                )),
                row.theory,
            );
            if memory {
                let mib = row.peak_bytes.flatten();
                let mib = mib.map_or("-".into(), |bytes| {
                    format!("{:.0}", bytes as f64 / (1 << 20) as f64)
                });
                text += &format!("{mib:>12}");
            }
        }
        for line in self.alpha_ratios() {
            text += &format!("\n{line}");
        }
        text
    }

    /// What each α brings over α = 0 in the same form.
    fn alpha_ratios(&self) -> impl Iterator<Item = String> {
        self.rows.iter().filter(|row| !row.alpha.is_vanilla()).filter_map(|row| {
            let form = match row.name {
                Form::Engine => Form::Engine,
                // Composed at α = 0 is the vanilla side.
                Form::Composed | Form::BurnConv2d => Form::BurnConv2d,
            };
            let vanilla = self.rows.iter().find(|other| other.is(form, row) && other.alpha.is_vanilla())?;
            let memory = match (row.peak_bytes.flatten(), vanilla.peak_bytes.flatten()) {
                (Some(peak), Some(vanilla)) => {
                    format!(", peak memory {:.2} of it", peak as f64 / vanilla as f64)
                }
                _ => String::new(),
            };
            let pass = row.pass.map_or(String::new(), |pass| format!(" {pass}"));
            Some(format!(
                "{}{pass}: alpha {} is {:.2} times as fast as alpha 0, {:.2} by multiply-adds{memory}",
                row.name.name(),
                row.alpha,
                vanilla.time.median_ms / row.time.median_ms,
                row.theory / vanilla.theory,
            ))
        })
    }
}
