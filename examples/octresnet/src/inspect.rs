//! What a network's two frequencies see of an image.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use burn::tensor::Tensor;
use burn_image_folder::{EvalTransform, high_part, low_part, shown};
use burn_image_train::{
    TrainedModel,
    plot::{ImagesPicture, MapGroup, Maps, MapsPicture, Save},
};
use image::RgbImage;

use crate::network::ModelRecipe;

/// An image as a network sees it, split in two frequencies, and the maps of the first layers.
#[derive(Debug, Clone)]
pub(crate) struct Inspection {
    /// The image after the transform of validation.
    pub(crate) input: RgbImage,
    /// What of it the low-frequency maps of the first octave layer have the resolution for.
    pub(crate) low: RgbImage,
    /// The rest, around grey, times `contrast`.
    pub(crate) high: RgbImage,
    /// Factor on the differences in `high`.
    pub(crate) contrast: f32,
    /// Height and width of the first low-frequency maps.
    pub(crate) low_size: [usize; 2],
    /// Share of the image's variance over its pixels that `low` has.
    pub(crate) low_variance: f64,
    /// The maps after the stem and after each of the first blocks.
    pub(crate) layers: Vec<LayerMaps>,
}

/// The maps that one layer gives for one image.
#[derive(Debug, Clone)]
pub(crate) struct LayerMaps {
    /// Where the layer stands in the network, such as `layer1.0`.
    pub(crate) name: String,
    /// Maps at full resolution.
    pub(crate) high: Option<Maps>,
    /// Maps one octave below.
    pub(crate) low: Option<Maps>,
    /// Maps further octaves below, of a network in more than two frequencies.
    pub(crate) lower: Vec<Maps>,
}

impl LayerMaps {
    fn picture(&self) -> MapsPicture<'_> {
        let groups = [("high", &self.high, 0), ("low", &self.low, 1)].into_iter();
        let groups = groups.filter_map(|(name, maps, octave)| {
            let maps = maps.as_ref()?;
            Some(MapGroup { name, maps, octave })
        });
        let lower = (2..).zip(&self.lower).map(|(octave, maps)| MapGroup {
            name: "lower",
            maps,
            octave,
        });
        MapsPicture::new(&self.name, groups.chain(lower).collect())
    }
}

impl Inspection {
    /// Shows a network an image and looks at its first `blocks` blocks.
    ///
    /// `size` is the height and width in pixels to bring the image to; none is as in training.
    pub(crate) fn of(
        trained: &TrainedModel<ModelRecipe>,
        image: &Path,
        size: Option<usize>,
        blocks: usize,
    ) -> anyhow::Result<Self> {
        let data = &trained.recipe.data;
        let transform = EvalTransform {
            size: size.unwrap_or(data.val.size),
            ..data.val.clone()
        };
        transform.validate()?;
        let size = transform.size;
        let pixels = transform.load(image, data.max_megapixels)?;
        let input = RgbImage::from_fn(size as u32, size as u32, |x, y| {
            let place = y as usize * size + x as usize;
            image::Rgb([0, 1, 2].map(|channel| pixels[channel * size * size + place]))
        });
        let batch = data.normalize.batch(pixels, size, &trained.device);
        let mut layers = Vec::new();
        for (name, features) in trained.model.forward_blocks(batch, blocks) {
            let mut groups = features.into_maps().into_groups().into_iter();
            let mut next = || groups.next().flatten().map(values).transpose();
            layers.push(LayerMaps {
                name,
                high: next()?,
                low: next()?,
                lower: groups.flatten().map(values).collect::<Result<_, _>>()?,
            });
        }
        let low_size = layers.iter().find_map(|layer| {
            let ([_, height, width], _) = layer.low.as_ref()?;
            Some([*height, *width])
        });
        // A vanilla network has no low maps; an octave below its first blocks they would be.
        let low_size = low_size.unwrap_or_else(|| {
            let ([_, height, width], _) = (layers.last())
                .and_then(|layer| layer.high.as_ref())
                .unwrap_or(&([1, 2, 2], Vec::new()))
                .clone();
            [height.div_ceil(2), width.div_ceil(2)]
        });
        let low = low_part(&input, low_size);
        let (high, contrast) = high_part(&input, &low);
        Ok(Self {
            low_variance: (variance(&low) / variance(&input).max(1e-9)).min(1.0),
            input,
            low,
            high,
            contrast,
            low_size,
            layers,
        })
    }

    /// Draws `frequencies.png`, as figure 1 of the paper (<https://arxiv.org/abs/1904.05049>), and a
    /// picture of the maps of each layer into a folder, which is made if need be. Returns the paths.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", shown(folder)))?;
        let [height, width] = self.low_size;
        let share = 100.0 * self.low_variance;
        let size = format!("{}×{} pixels", self.input.height(), self.input.width());
        let low = format!("{height}×{width} values, {share:.0} % of variance");
        let high = format!("the rest, contrast ×{:.1}", self.contrast);
        let frequencies = ImagesPicture::new(vec![
            (&self.input, "input".into(), size),
            (&self.low, "low frequency".into(), low),
            (&self.high, "high frequency".into(), high),
        ]);
        let mut paths = vec![folder.join("frequencies.png")];
        frequencies.save(&paths[0])?;
        for layer in &self.layers {
            let path = folder.join(format!("{}.png", layer.name));
            layer.picture().save(&path)?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// The maps of the one image of a batch.
fn values(maps: Tensor<4>) -> anyhow::Result<Maps> {
    let [_, channels, height, width] = maps.dims();
    let values = maps.try_into_vec_as::<f32>();
    let values = values.map_err(|error| anyhow::anyhow!("the device failed: {error}"))?;
    Ok(([channels, height, width], values))
}

/// Mean over the channels of the variance over the pixels.
fn variance(image: &RgbImage) -> f64 {
    let pixels = f64::from(image.width()) * f64::from(image.height());
    let of = |channel: usize| {
        let values = image.pixels().map(move |pixel| f64::from(pixel.0[channel]));
        let mean = values.clone().sum::<f64>() / pixels;
        values.map(|value| (value - mean).powi(2)).sum::<f64>() / pixels
    };
    (of(0) + of(1) + of(2)) / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pixel on, one off.
    fn checkerboard(side: u32) -> RgbImage {
        RgbImage::from_fn(side, side, |x, y| {
            image::Rgb([((x + y) % 2 * 200) as u8; 3])
        })
    }

    #[test]
    fn fine_patterns_are_high_and_plain_areas_low_frequency() {
        let fine = checkerboard(16);
        let low = low_part(&fine, [4, 4]);
        assert!(variance(&low) < 0.02 * variance(&fine));
        let (high, contrast) = high_part(&fine, &low);
        assert!(contrast >= 1.0 && variance(&high) >= 0.9 * variance(&fine));

        let plain = RgbImage::from_pixel(16, 16, image::Rgb([90, 20, 200]));
        let low = low_part(&plain, [4, 4]);
        assert_eq!(low, plain);
        let (high, _) = high_part(&plain, &low);
        assert!(high.iter().all(|value| *value == 128));
    }
}
