use burn::tensor::{
    Tensor,
    module::{conv_transpose1d, conv_transpose2d, conv_transpose3d, conv1d, conv2d, conv3d},
    ops::{ConvOptions, ConvTransposeOptions, PadMode},
};

mod sealed {
    pub trait Sealed {}
}

/// A map over `D` axes: a tensor `[batch, channels, …]` of rank `D + 2`, with the convolutions that
/// Burn has for it.
pub trait MapTensor<const D: usize>: sealed::Sealed + Sized {
    /// A convolution, with zero padding that may differ at the two ends of an axis.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, channels_in, …]`
    /// - kernel: `[channels_out, channels_in / groups, …]`
    /// - bias: `[channels_out]`
    fn conv(self, kernel: Self, bias: Option<Tensor<1>>, options: ConvOptions<D>) -> Self;

    /// A transposed convolution.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, channels_in, …]`
    /// - kernel: `[channels_in, channels_out / groups, …]`
    /// - bias: `[channels_out]`
    fn conv_transpose(
        self,
        kernel: Self,
        bias: Option<Tensor<1>>,
        options: ConvTransposeOptions<D>,
    ) -> Self;
}

impl sealed::Sealed for Tensor<3> {}
impl sealed::Sealed for Tensor<4> {}
impl sealed::Sealed for Tensor<5> {}

impl MapTensor<1> for Tensor<3> {
    fn conv(self, kernel: Self, bias: Option<Tensor<1>>, options: ConvOptions<1>) -> Self {
        // Burn 0.22.1 has wrong gradients of the kernel where a strided convolution in groups leaves
        // out the end of the line (conv1d_weight_grad_groups); over two axes they are right.
        if options.groups > 1 && options.stride != [1] {
            return conv_in_plane(self, kernel, bias, options);
        }
        conv1d(self, kernel, bias, options)
    }

    fn conv_transpose(
        self,
        kernel: Self,
        bias: Option<Tensor<1>>,
        options: ConvTransposeOptions<1>,
    ) -> Self {
        conv_transpose1d(self, kernel, bias, options)
    }
}

/// A convolution over one axis as one over planes of one column.
fn conv_in_plane(
    x: Tensor<3>,
    kernel: Tensor<3>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<1>,
) -> Tensor<3> {
    let options = ConvOptions::new_with_padding(
        [options.stride[0], 1],
        [options.padding[0], (0, 0)],
        [options.dilation[0], 1],
        options.groups,
    );
    let y: Tensor<4> = conv2d(x.unsqueeze_dim(3), kernel.unsqueeze_dim(3), bias, options);
    y.squeeze_dim(3)
}

impl MapTensor<2> for Tensor<4> {
    fn conv(self, kernel: Self, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Self {
        conv2d(self, kernel, bias, options)
    }

    fn conv_transpose(
        self,
        kernel: Self,
        bias: Option<Tensor<1>>,
        options: ConvTransposeOptions<2>,
    ) -> Self {
        conv_transpose2d(self, kernel, bias, options)
    }
}

impl MapTensor<3> for Tensor<5> {
    fn conv(self, kernel: Self, bias: Option<Tensor<1>>, mut options: ConvOptions<3>) -> Self {
        // Burn's has the same padding at both ends only.
        let x = match options.is_asymmetric() {
            true => {
                let padding = core::mem::take(&mut options.padding);
                self.pad(padding, PadMode::Constant(0.0))
            }
            false => self,
        };
        conv3d(x, kernel, bias, options)
    }

    fn conv_transpose(
        self,
        kernel: Self,
        bias: Option<Tensor<1>>,
        options: ConvTransposeOptions<3>,
    ) -> Self {
        // Burn's GPU kernel (0.22.1) reads nothing where the stride is longer than the kernel: zeros
        // make the kernel longer, and what they add to the end is cut off.
        let [_, _, sizes @ ..] = kernel.dims();
        let missing: [usize; 3] = core::array::from_fn(|a| {
            let taps = options.stride[a].div_ceil(options.dilation[a]);
            taps.saturating_sub(sizes[a])
        });
        if missing == [0; 3] {
            return conv_transpose3d(self, kernel, bias, options);
        }
        let padding = missing.map(|taps| (0, taps));
        let kernel = kernel.pad(padding, PadMode::Constant(0.0));
        let dilation = options.dilation;
        let y = conv_transpose3d(self, kernel, bias, options);
        (0..3).fold(y, |y, a| {
            let kept = y.dims()[2 + a] - missing[a] * dilation[a];
            y.narrow(2 + a, 0, kept)
        })
    }
}
