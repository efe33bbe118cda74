use alloc::format;

use burn::nn::Initializer;
use octave_plan::{Downsample, Exchange, Layer, Padding, Plan, Upsample};
use serde::{Deserialize, Serialize};

use super::split::{named_split, trimmed};
use crate::{OctConvError, conv::check_initializer};

/// Which frequencies exchange information, where there are more than two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Every group with every group. Only then the parameters do not depend on the shares.
    #[default]
    All,
    /// Every group with itself and those one octave away: fewer parameters and paths.
    Neighbours,
}

/// How much a pixel weighs that a transposed layer moves to another frequency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// As in the adjoint of the convolution: paths down sum blocks of 2, paths up give each pixel of
    /// a window its share. Over two axes a path down starts with 4 times the scale of a vanilla one,
    /// a path up with a quarter of it.
    #[default]
    Adjoint,
    /// Paths down average blocks, paths up repeat pixels, so that all paths keep constants, as those of
    /// a convolution do. It is the adjoint with kernels of another scale, and easier to train.
    Mean,
}

/// What the configurations of all ranks say, for one check of it all.
#[derive(Debug, Clone)]
pub(super) struct Spec<'a, const D: usize> {
    pub channels: [usize; 2],
    pub kernel_size: [usize; D],
    pub stride: [usize; D],
    pub dilation: [usize; D],
    pub groups: usize,
    pub padding: Padding<D>,
    pub bias: bool,
    pub initializer: &'a Initializer,
    pub shares_in: &'a [f64],
    pub shares_out: &'a [f64],
    pub octave_axes: [bool; D],
    pub strided: bool,
    pub downsample: Downsample,
    pub upsample: Upsample,
    pub exchange: Exchange,
    pub reach: Reach,
    /// Whether this is the convolution whose adjoint the layer is, so that its output is the layer's
    /// input.
    pub transposed: bool,
}

impl<const D: usize> Spec<'_, D> {
    /// The paths of the layer.
    pub fn plan(&self) -> Result<Plan<D>, OctConvError> {
        self.check_sizes()?;
        self.check_magnitudes()?;
        check_initializer(self.initializer, self.bias)?;
        let plan = Plan::new(self.layer()?, self.exchange);
        let plan = match self.reach {
            Reach::All => plan,
            Reach::Neighbours => plan.between_neighbours(),
        };
        self.check_channels(&plan)?;
        self.check_reachable(&plan)?;
        Ok(plan)
    }

    /// [`plan`](Self::plan), with a padding that keeps the resolutions aligned.
    pub fn aligned_plan(&self) -> Result<Plan<D>, OctConvError> {
        let plan = self.plan()?;
        let (padding, same) = (plan.padding_at_stride_1(), plan.same_at_stride_1());
        match padding == same || plan.paths.len() == 1 {
            true => Ok(plan),
            false => Err(self.misaligned(padding, same)),
        }
    }

    pub fn misaligned(
        &self,
        padding: impl core::fmt::Debug,
        same: [(usize, usize); D],
    ) -> OctConvError {
        OctConvError::Misaligned {
            padding: format!("{padding:?}"),
            same: format!("{same:?}"),
            kernel_size: self.kernel_size.into(),
            dilation: self.dilation.into(),
        }
    }

    /// Input and output of the layer, where those of the plan are given.
    fn ends<T>(&self, input: T, output: T) -> (T, T) {
        match self.transposed {
            true => (output, input),
            false => (input, output),
        }
    }

    fn check_sizes(&self) -> Result<(), OctConvError> {
        let zero = |name, value| Err(OctConvError::Zero { name, value });
        if self.channels.contains(&0) {
            return zero("channels", format!("{:?}", self.channels));
        }
        for (name, value) in [
            ("kernel_size", self.kernel_size),
            ("dilation", self.dilation),
        ] {
            if value.contains(&0) {
                return zero(name, format!("{value:?}"));
            }
        }
        if self.groups == 0 {
            return zero("groups", "0".into());
        }
        if !self.stride.iter().all(|stride| matches!(stride, 1 | 2)) {
            let stride = self.stride.into();
            return Err(OctConvError::AxisStride { stride });
        }
        if !self.octave_axes.contains(&true) {
            let octave_axes = self.octave_axes.into();
            return Err(OctConvError::NoOctaveAxis { octave_axes });
        }
        Ok(())
    }

    /// Refuses what would overflow later on.
    fn check_magnitudes(&self) -> Result<(), OctConvError> {
        const LIMIT: usize = isize::MAX as usize / 8;
        let fits = |factors: &[usize]| {
            let product = factors.iter().try_fold(1usize, |p, &f| p.checked_mul(f));
            product.is_some_and(|product| product <= LIMIT)
        };
        let too_large = |name, value| Err(OctConvError::TooLarge { name, value });
        let [input, output] = self.channels;
        let kernels = [input.div_ceil(self.groups), output];
        if !fits(&[&kernels[..], &self.kernel_size].concat()) {
            let value = format!(
                "{:?} with kernel_size {:?}",
                self.channels, self.kernel_size
            );
            return too_large("channels", value);
        }
        let mut extents = self.kernel_size.into_iter().zip(self.dilation);
        if extents.any(|(k, d)| !fits(&[k, d])) {
            let value = format!(
                "{:?} with kernel_size {:?}",
                self.dilation, self.kernel_size
            );
            return too_large("dilation", value);
        }
        match self.padding {
            Padding::Explicit(p) if p.iter().any(|&(a, b)| a.max(b) > LIMIT / 2) => {
                too_large("padding", format!("{p:?}"))
            }
            _ => Ok(()),
        }
    }

    fn layer(&self) -> Result<Layer<D>, OctConvError> {
        let split = |channels, shares, name| {
            let counts = named_split(channels, shares, name)?;
            Ok::<_, OctConvError>(trimmed(&counts).to_vec())
        };
        let (name_in, name_out) = self.ends("shares_in", "shares_out");
        let input = split(self.channels[0], self.shares_in, name_in)?;
        let output = split(self.channels[1], self.shares_out, name_out)?;
        let strides = self.stride.contains(&2);
        Ok(Layer {
            stride: if strides { 2 } else { 1 },
            stride_axes: match strides {
                true => self.stride.map(|stride| stride == 2),
                false => [true; D],
            },
            strided: self.strided,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
            octave_axes: self.octave_axes,
            downsample: self.downsample,
            upsample: self.upsample,
            ..Layer::new(input, output, self.kernel_size)
        })
    }

    fn check_channels(&self, plan: &Plan<D>) -> Result<(), OctConvError> {
        let (input, output) = self.ends(plan.input.clone(), plan.output.clone());
        if plan.is_depthwise() {
            return match input == output {
                true => Ok(()),
                false => Err(OctConvError::DepthwiseShares { input, output }),
            };
        }
        let divides = |count: &usize| count.is_multiple_of(self.groups);
        if input.iter().chain(&output).all(divides) {
            return Ok(());
        }
        Err(OctConvError::GroupChannels {
            groups: self.groups,
            input,
            output,
        })
    }

    /// Refuses output groups that no path writes.
    fn check_reachable(&self, plan: &Plan<D>) -> Result<(), OctConvError> {
        let (input, output) = self.ends(&plan.input, &plan.output);
        for (level, &channels) in output.iter().enumerate() {
            let written = plan
                .paths
                .iter()
                .any(|path| self.ends(path.from, path.to).1 == level);
            if channels > 0 && !written {
                return Err(OctConvError::Unreached {
                    level,
                    input: input.clone(),
                    output: output.clone(),
                });
            }
        }
        Ok(())
    }
}
