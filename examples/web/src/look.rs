//! What a network sees in a picture.

use burn::tensor::{Device, Tensor, activation::softmax};
use burn_image_folder::{EvalTransform, Normalize, decode_rgb_bytes, high_part, low_part};
use burn_octresnet::model::OctNet;
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::wasm_bindgen;

/// Blocks of the network whose maps are shown.
const BLOCKS: usize = 2;

/// Maps of a group that are shown: there may be hundreds of channels.
const MOST_MAPS: usize = 12;

/// What of a run's recipe says how its network is shown a picture.
#[derive(Deserialize)]
pub(crate) struct Data {
    pub(crate) val: EvalTransform,
    pub(crate) normalize: Normalize,
}

/// What was seen in a picture.
#[wasm_bindgen]
pub struct Seen {
    logits: Vec<f32>,
    probabilities: Vec<f32>,
    /// The picture as the network sees it, its low and its high frequency.
    pictures: [RgbImage; 3],
    contrast: f32,
    low_size: [usize; 2],
    groups: Vec<Group>,
}

/// Maps of one layer and one frequency.
#[derive(Serialize)]
struct Group {
    layer: String,
    frequency: &'static str,
    /// All that there are; fewer may be shown.
    channels: usize,
    shown: usize,
    height: usize,
    width: usize,
    /// The shown ones one after the other, each scaled by itself to 0..=255.
    #[serde(skip)]
    values: Vec<u8>,
}

#[wasm_bindgen]
impl Seen {
    /// One per class.
    #[wasm_bindgen(getter)]
    pub fn logits(&self) -> Vec<f32> {
        self.logits.clone()
    }

    /// One per class, 1 in all.
    #[wasm_bindgen(getter)]
    pub fn probabilities(&self) -> Vec<f32> {
        self.probabilities.clone()
    }

    /// Height and width of the pictures in pixels.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> usize {
        self.pictures[0].width() as usize
    }

    /// Height and width of the first low-frequency maps.
    #[wasm_bindgen(getter)]
    pub fn low_size(&self) -> Vec<usize> {
        self.low_size.to_vec()
    }

    /// The factor on what the picture of the high frequency shows.
    #[wasm_bindgen(getter)]
    pub fn contrast(&self) -> f32 {
        self.contrast
    }

    /// What the network sees (0), its low (1) or its high frequency (2): rows of RGBA pixels.
    pub fn picture(&self, which: usize) -> Vec<u8> {
        let pixels = self.pictures.get(which).map(|picture| picture.pixels());
        let pixels = pixels.into_iter().flatten();
        pixels
            .flat_map(|Rgb([r, g, b])| [*r, *g, *b, 255])
            .collect()
    }

    /// The groups of maps, as JSON.
    #[wasm_bindgen(getter)]
    pub fn groups(&self) -> String {
        serde_json::to_string(&self.groups).expect("numbers and text")
    }

    /// The shown maps of a group, one after the other.
    pub fn maps(&self, group: usize) -> Vec<u8> {
        let group = self.groups.get(group);
        group.map(|group| group.values.clone()).unwrap_or_default()
    }
}

/// Shows a network the content of an image file. `inference` is the same with its norms folded.
pub(crate) fn look(
    trained: &OctNet,
    inference: &OctNet,
    data: &Data,
    file: &[u8],
) -> Result<Seen, String> {
    let image = decode_rgb_bytes(file).map_err(|error| error.to_string())?;
    let pixels = data.val.apply(&image).map_err(|error| error.to_string())?;
    let size = data.val.size;
    let input = RgbImage::from_fn(size as u32, size as u32, |x, y| {
        let place = y as usize * size + x as usize;
        Rgb([0, 1, 2].map(|channel| pixels[channel * size * size + place]))
    });
    let batch = data.normalize.batch(pixels, size, &Device::flex());
    let logits = inference.forward(batch.clone());
    let probabilities = values(softmax(logits.clone(), 1))?;
    let logits = values(logits)?;
    let mut groups = Vec::new();
    for (layer, features) in trained.forward_blocks(batch, BLOCKS) {
        let (high, low) = features.into_octave().into_parts();
        for (frequency, maps) in [("high", high), ("low", low)] {
            if let Some(maps) = maps {
                groups.push(group(&layer, frequency, maps)?);
            }
        }
    }
    // A vanilla network has no low maps; an octave below its first blocks they would be.
    let low = groups.iter().find(|group| group.frequency == "low");
    let low_size = match (low, groups.last()) {
        (Some(low), _) => [low.height, low.width],
        (None, Some(last)) => [last.height.div_ceil(2), last.width.div_ceil(2)],
        (None, None) => [size, size],
    };
    let low = low_part(&input, low_size);
    let (high, contrast) = high_part(&input, &low);
    Ok(Seen {
        logits,
        probabilities,
        pictures: [input, low, high],
        contrast,
        low_size,
        groups,
    })
}

fn group(layer: &str, frequency: &'static str, maps: Tensor<4>) -> Result<Group, String> {
    let [_, channels, height, width] = maps.dims();
    let all = values(maps)?;
    let shown = channels.min(MOST_MAPS);
    Ok(Group {
        layer: layer.into(),
        frequency,
        channels,
        shown,
        height,
        width,
        values: all
            .chunks(height * width)
            .take(shown)
            .flat_map(scaled)
            .collect(),
    })
}

/// The values of a map between 0 for the least and 255 for the largest.
fn scaled(map: &[f32]) -> impl Iterator<Item = u8> {
    let (least, largest) = map
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| {
            (a.min(*v), b.max(*v))
        });
    let factor = 255.0 / (largest - least).max(f32::MIN_POSITIVE);
    map.iter()
        .map(move |value| ((value - least) * factor) as u8)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    tensor.try_into_vec_as().map_err(|error| error.to_string())
}
