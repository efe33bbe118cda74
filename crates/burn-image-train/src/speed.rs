use std::sync::Arc;

use burn::{
    tensor::TensorReadError,
    train::metric::{
        Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
        NumericEntry, SerializedEntry,
        state::{FormatOptions, NumericMetricState},
    },
};

use crate::wait::DataWait;

/// How fast training goes, for Burn's terminal interface.
#[derive(Clone)]
pub(crate) struct SpeedMetric {
    what: What,
    name: MetricName,
    wait: DataWait,
    state: NumericMetricState,
}

#[derive(Clone, Copy)]
enum What {
    Images,
    Wait,
}

impl SpeedMetric {
    /// What these metrics are called.
    pub(crate) const NAMES: [&str; 2] = ["Images per Second", "Data Wait"];

    /// Images per second since the epoch began.
    pub(crate) fn images(wait: DataWait) -> Self {
        Self::new(What::Images, Self::NAMES[0], wait)
    }

    /// Percent of the epoch so far spent waiting for images.
    pub(crate) fn wait(wait: DataWait) -> Self {
        Self::new(What::Wait, Self::NAMES[1], wait)
    }

    fn new(what: What, name: &str, wait: DataWait) -> Self {
        Self {
            what,
            name: Arc::new(name.into()),
            wait,
            state: NumericMetricState::new(),
        }
    }

    fn unit(&self) -> &'static str {
        match self.what {
            What::Images => "images/s",
            What::Wait => "%",
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name())
            .unit(self.unit())
            .precision(1)
    }
}

impl Metric for SpeedMetric {
    type Input = ();

    fn update(
        &mut self,
        _: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let value = match self.what {
            What::Images => self.wait.rate(metadata.progress.items_processed),
            What::Wait => 100.0 * self.wait.share(),
        };
        self.state.update(value, 1);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: Some(self.unit().into()),
            higher_is_better: matches!(self.what, What::Images),
        }
        .into()
    }
}

impl Numeric for SpeedMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
