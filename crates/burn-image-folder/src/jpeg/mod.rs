//! Part of a usual photograph, without the work for what lies outside of it.

mod color;
mod entropy;
mod header;
mod inverse;

use std::ops::Range;

use image::metadata::Orientation;

pub(super) use header::Header;

use color::{Rows, to_rgb};
use entropy::{Bits, Block, Coded, Kind, Table, natural};
use inverse::{inverse, inverse_flat};

/// A part of an image: its columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub x: Range<usize>,
    pub y: Range<usize>,
}

/// An upright JPEG in colour, of eight bits, coded in one pass: what nearly every photograph is.
pub(super) struct Photo<'a> {
    bytes: &'a [u8],
    /// Width and height in pixels.
    size: [usize; 2],
    /// Along which axes, x and y, colour has half the resolution.
    halved: [bool; 2],
    /// Steps of quantization of each component, in zigzag order.
    steps: [&'a [u8; 64]; 3],
    /// Huffman codes of each component, for DC and AC coefficients.
    codes: [[&'a [u8]; 2]; 3],
    restart_interval: usize,
    /// Where the coded data starts.
    data: usize,
}

impl<'a> Photo<'a> {
    /// Nothing if the file is anything else, or not whole.
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            return None;
        }
        let header = Header::read(bytes);
        let upright = matches!(
            header.exif_orientation,
            None | Some(Orientation::NoTransforms)
        );
        // Luma and two colours, unless it says otherwise.
        let adobe = matches!(header.adobe_transform, None | Some(1));
        let frame = header.frame.as_ref().filter(|frame| frame.sequential)?;
        let frame_ids = frame.components.iter().map(|&[id, ..]| id);
        let &[[_, luma, y], [_, 0x11, b], [_, 0x11, r]] = frame.components else {
            return None;
        };
        let halved = match luma {
            0x11 => [false, false],
            0x21 => [true, false],
            0x22 => [true, true],
            _ => return None,
        };
        let scan = header.scan.as_ref()?;
        let usual = upright
            && adobe
            && frame.bits == 8
            && frame.width * frame.height > 0
            && frame_ids.clone().ne(*b"RGB")
            && scan.components.iter().map(|&[id, _]| id).eq(frame_ids);
        if !usual || !header.is_complete(bytes) {
            return None;
        }
        let steps = |table: u8| *header.steps.get(usize::from(table))?;
        let code = |kind: usize, table: u8| *header.codes[kind].get(usize::from(table))?;
        let codes = |number: usize| {
            let [_, tables] = scan.components[number];
            Some([code(0, tables >> 4)?, code(1, tables & 15)?])
        };
        Some(Self {
            size: [frame.width as usize, frame.height as usize],
            halved,
            steps: [steps(y)?, steps(b)?, steps(r)?],
            codes: [codes(0)?, codes(1)?, codes(2)?],
            restart_interval: header.restart_interval,
            data: scan.data,
            bytes,
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size.map(|length| length as u32)
    }
}

/// A component's samples, in whole units of blocks.
#[derive(Debug, Default)]
struct Plane {
    width: usize,
    samples: Vec<u8>,
}

impl Plane {
    fn resize(&mut self, [width, height]: [usize; 2]) {
        self.width = width;
        self.samples.resize(width * height, 0);
    }

    fn height(&self) -> usize {
        self.samples.len() / self.width
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.width..][..self.width]
    }
}

/// Decodes photographs one after the other, in memory that it keeps.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    coded: Coded,
    /// Huffman tables met lately: most encoders use the same ones for every image.
    tables: Vec<Table>,
    planes: [Plane; 3],
    rows: Rows,
}

/// Beyond how many Huffman tables none is kept; an image has six at most.
const TABLES: usize = 12;

impl Decoder {
    /// Decodes a part of a photograph to 8-bit RGB, as the general decoder would.
    ///
    /// The part's pixels are written at their place in the whole image, `[height, width, 3]`;
    /// all others of `pixels` stay what they were. Nothing comes of damaged data: let the general
    /// decoder tell what is wrong with it.
    pub fn decode(&mut self, photo: &Photo, region: Region, pixels: &mut Vec<u8>) -> Option<()> {
        let [width, height] = photo.size;
        pixels.resize(3 * width * height, 0);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
        {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { self.decode_v3(photo, region, pixels) };
        }
        self.decode_part::<false>(photo, region, pixels)
    }

    /// [`decode_part`](Self::decode_part), compiled for processors of x86-64-v3.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    fn decode_v3(&mut self, photo: &Photo, region: Region, pixels: &mut [u8]) -> Option<()> {
        self.decode_part::<true>(photo, region, pixels)
    }

    #[inline(always)]
    fn decode_part<const V3: bool>(
        &mut self,
        photo: &Photo,
        region: Region,
        pixels: &mut [u8],
    ) -> Option<()> {
        self.read_planes::<V3>(photo, &region)?;
        let [luma, blue, red] = &self.planes;
        to_rgb(
            [luma, blue, red],
            photo.halved,
            region,
            &mut self.rows,
            pixels,
            photo.size[0],
        );
        Some(())
    }

    /// Decodes the blocks that `region` needs into the planes.
    #[inline(always)]
    fn read_planes<const V3: bool>(&mut self, photo: &Photo, region: &Region) -> Option<()> {
        if self.tables.len() > TABLES {
            self.tables.clear();
        }
        let mut tables = [[0; 2]; 3];
        for (tables, codes) in tables.iter_mut().zip(photo.codes) {
            *tables = [
                self.table(Kind::Dc, codes[0])?,
                self.table(Kind::Ac, codes[1])?,
            ];
        }
        let factors = photo.halved.map(|halved| if halved { 2 } else { 1 });
        let units: [usize; 2] =
            std::array::from_fn(|axis| photo.size[axis].div_ceil(8 * factors[axis]));
        let components: [Component; 3] = std::array::from_fn(|number| {
            let (blocks, factors) = match number {
                0 => (factors, [1, 1]),
                _ => ([1, 1], factors),
            };
            let mut steps = [0; 65];
            for (number, &step) in photo.steps[number].iter().enumerate() {
                steps[natural(number)] = step.into();
            }
            Component {
                blocks,
                tables: tables[number].map(|table| &self.tables[table]),
                steps,
                x: needed(&region.x, factors[0], units[0] * blocks[0]),
                y: needed(&region.y, factors[1], units[1] * blocks[1]),
            }
        });
        for (plane, component) in self.planes.iter_mut().zip(&components) {
            plane.resize([0, 1].map(|axis| 8 * units[axis] * component.blocks[axis]));
        }

        let rows =
            (components.iter()).map(|component| component.y.end.div_ceil(component.blocks[1]));
        let end = units[0] * rows.max()?;
        let all = units[0] * units[1];
        let interval = match photo.restart_interval {
            0 => all,
            interval => interval,
        };
        let whole = self.coded.fill(photo.bytes.get(photo.data..)?);
        if !whole || self.coded.parts() != all.div_ceil(interval) {
            return None;
        }
        let mut planes = self.planes.each_mut();
        for (part, first) in (0..end).step_by(interval).enumerate() {
            let mut bits = self.coded.part(part);
            let mut dc = [0; 3];
            for unit in first..(first + interval).min(end) {
                let at = [unit % units[0], unit / units[0]];
                for ((component, plane), dc) in components.iter().zip(&mut planes).zip(&mut dc) {
                    component.read_unit::<V3>(at, &mut bits, dc, plane)?;
                }
                if bits.overrun() {
                    return None;
                }
            }
        }
        Some(())
    }

    /// The place of a table, which is made unless it is there.
    fn table(&mut self, kind: Kind, spec: &[u8]) -> Option<usize> {
        if let Some(place) = self.tables.iter().position(|table| table.is(kind, spec)) {
            return Some(place);
        }
        self.tables.push(Table::new(kind, spec)?);
        Some(self.tables.len() - 1)
    }
}

/// What is done with a component's blocks.
struct Component<'a> {
    /// How many blocks it has in a unit, across and down.
    blocks: [usize; 2],
    tables: [&'a Table; 2],
    steps: Block,
    /// The columns and rows of blocks that are needed.
    x: Range<usize>,
    y: Range<usize>,
}

impl Component<'_> {
    /// Reads the blocks of a unit, and puts those that are needed into `plane`.
    #[inline(always)]
    fn read_unit<const V3: bool>(
        &self,
        unit: [usize; 2],
        bits: &mut Bits,
        dc: &mut i32,
        plane: &mut Plane,
    ) -> Option<()> {
        let [across, down] = self.blocks;
        for y in down * unit[1]..down * (unit[1] + 1) {
            for x in across * unit[0]..across * (unit[0] + 1) {
                if !self.x.contains(&x) || !self.y.contains(&y) {
                    bits.skip_block(self.tables, dc)?;
                    continue;
                }
                let mut block = [0; 65];
                let length = bits.read_block(self.tables, &self.steps, dc, &mut block)?;
                let stride = plane.width;
                let samples = &mut plane.samples[8 * (y * stride + x)..];
                match length {
                    1 => inverse_flat(&block, samples, stride),
                    // In zigzag order the first ten lie in a square of four.
                    2..=10 => inverse::<V3, 4>(&block, samples, stride),
                    _ => inverse::<V3, 8>(&block, samples, stride),
                }
            }
        }
        Some(())
    }
}

/// The blocks that the pixels `range` need, of `blocks` along an axis.
fn needed(range: &Range<usize>, factor: usize, blocks: usize) -> Range<usize> {
    // Where colour is interpolated, a value more on both sides.
    let margin = factor - 1;
    let first = (range.start / factor).saturating_sub(margin);
    let last = (range.end - 1) / factor + margin;
    first / 8..(last / 8 + 1).min(blocks)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::decode_rgb_bytes;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        fs::read(format!("{folder}/{name}.jpg")).unwrap()
    }

    fn region([width, height]: [usize; 2], rng: &mut impl Rng) -> Region {
        let mut range = |length: usize| {
            let start = rng.random_range(0..length);
            start..rng.random_range(start + 1..=length)
        };
        Region {
            x: range(width),
            y: range(height),
        }
    }

    /// The pixels of `region`, and whether all others have the value `rest`.
    fn cut(pixels: &[u8], width: usize, region: &Region, rest: u8) -> (Vec<u8>, bool) {
        let (mut inside, mut untouched) = (Vec::new(), true);
        for (y, row) in pixels.chunks_exact(3 * width).enumerate() {
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                match region.x.contains(&x) && region.y.contains(&y) {
                    true => inside.extend_from_slice(pixel),
                    false => untouched &= pixel == [rest; 3],
                }
            }
        }
        (inside, untouched)
    }

    #[test]
    fn any_part_is_that_of_the_whole_and_nothing_else_is_written() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut decoder = Decoder::default();
        for name in ["444", "422", "420", "restart", "upright"] {
            let bytes = fixture(&format!("photo_{name}"));
            let whole = decode_rgb_bytes(&bytes).unwrap();
            let photo = Photo::open(&bytes).unwrap();
            let size = [whole.width() as usize, whole.height() as usize];
            assert_eq!(photo.size, size);
            for _ in 0..60 {
                let region = region(size, &mut rng);
                let (expected, _) = cut(whole.as_raw(), size[0], &region, 0);
                let mut pixels = vec![7; whole.as_raw().len()];
                decoder.decode(&photo, region.clone(), &mut pixels).unwrap();
                let good = (expected, true);
                assert!(
                    cut(&pixels, size[0], &region, 7) == good,
                    "{name} {region:?}"
                );
                // Also where the processor has no wide registers.
                pixels.fill(7);
                (decoder.decode_part::<false>(&photo, region.clone(), &mut pixels)).unwrap();
                assert!(
                    cut(&pixels, size[0], &region, 7) == good,
                    "{name} {region:?}"
                );
            }
        }
    }

    #[test]
    fn other_files_are_left_to_the_general_decoder() {
        for name in [
            "photo_turned",
            "photo_progressive",
            "cmyk",
            "ycck",
            "grey_adobe",
        ] {
            assert!(Photo::open(&fixture(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn damaged_data_does_no_harm() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut decoder = Decoder::default();
        let (mut good, mut bad) = (0, 0);
        for name in ["photo_420", "photo_restart"] {
            let bytes = fixture(name);
            for _ in 0..400 {
                let mut bytes = bytes.clone();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(2..bytes.len());
                    bytes[at] = rng.random();
                }
                let Some(photo) = Photo::open(&bytes) else {
                    continue;
                };
                // Damaged sizes may ask for gigabytes; whoever decodes checks them first.
                if photo.size[0] * photo.size[1] > 1_000_000 {
                    continue;
                }
                let region = region(photo.size, &mut rng);
                match decoder.decode(&photo, region, &mut Vec::new()) {
                    Some(()) => good += 1,
                    None => bad += 1,
                }
            }
        }
        // A changed byte is often another colour, and as often no code.
        assert!(good > 50 && bad > 50, "{good} decoded, {bad} did not");
    }
}
