use burn::prelude::*;
use burn::tensor::DType;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, check};

/// Mean and standard deviation that pixels are normalised with, for values between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Normalize {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl Default for Normalize {
    /// ImageNet's.
    fn default() -> Self {
        Self {
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

impl Normalize {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        check(
            self.mean.iter().all(|mean| mean.is_finite()),
            ("mean", &self.mean),
            "three finite numbers",
        )?;
        check(
            self.std.iter().all(|std| std.is_finite() && *std > 0.0),
            ("std", &self.std),
            "three numbers above 0",
        )
    }

    /// Makes a normalised batch of 8-bit images.
    ///
    /// `pixels` holds `batch` planar images, `[batch, 3, size, size]`. The result has that shape
    /// and the device's float type.
    ///
    /// # Panics
    ///
    /// Panics if `pixels` has another length.
    pub fn batch(&self, pixels: Vec<u8>, size: usize, device: &Device) -> Tensor<4> {
        let batch = pixels.len() / (3 * size * size);
        let shape = [batch, 3, size, size];
        let scale = self.std.map(|std| 1.0 / (255.0 * std));
        let shift: [f32; 3] = std::array::from_fn(|c| -self.mean[c] / self.std[c]);
        // A quarter of the bytes travel to a device where that takes them as they are. On the
        // CPU, one pass takes the place of three, each of which would need fresh memory.
        if is_host(device) || !device.supports_dtype(DType::U8) {
            let planes = pixels.chunks_exact(size * size).enumerate();
            let mut values = Vec::with_capacity(pixels.len());
            for (number, plane) in planes {
                let (scale, shift) = (scale[number % 3], shift[number % 3]);
                values.extend(plane.iter().map(|&pixel| f32::from(pixel) * scale + shift));
            }
            return Tensor::from_data(TensorData::new(values, shape), device);
        }
        let data = TensorData::new(pixels, shape);
        let pixels = Tensor::<4, Int>::from_data(data, (device, DType::U8)).float();
        pixels * per_channel(scale, device) + per_channel(shift, device)
    }

    /// Normalises images whose pixels go from 0 to 1.
    ///
    /// # Shapes
    ///
    /// - images, and output: `[batch, 3, height, width]`
    pub fn normalized(&self, images: Tensor<4>) -> Tensor<4> {
        let device = images.device();
        let scale = self.std.map(|std| 1.0 / std);
        let shift: [f32; 3] = std::array::from_fn(|c| -self.mean[c] / self.std[c]);
        images * per_channel(scale, &device) + per_channel(shift, &device)
    }

    /// The images of a normalised batch, with pixels from 0 to 1.
    ///
    /// # Shapes
    ///
    /// - batch, and output: `[batch, 3, height, width]`
    pub fn pixels(&self, batch: Tensor<4>) -> Tensor<4> {
        let device = batch.device();
        let pixels = batch * per_channel(self.std, &device) + per_channel(self.mean, &device);
        pixels.clamp(0.0, 1.0)
    }
}

/// A value per channel, for batches.
fn per_channel(values: [f32; 3], device: &Device) -> Tensor<4> {
    Tensor::<1>::from_floats(values, device).reshape([1, 3, 1, 1])
}

/// Whether a device computes in this process, in ordinary memory.
fn is_host(device: &Device) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => true,
        _ => false,
    }
}
