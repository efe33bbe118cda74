//! Cuts the products of a region into jobs.

use std::ops::Range;

use super::panel::{PANEL, SourceShape};
use super::prepare::{Prepared, SourceGeometry, Sum};
use super::tile::widest_panel;
use crate::BLOCK;
use crate::isa::Isa;

/// A panel of output channels × rows of one image, or of whole images.
pub(super) struct Job {
    pub product: usize,
    pub panel: usize,
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

/// Images, and rows of each of them.
type Rows = (Range<usize>, Range<usize>);

/// Multiply–adds of a row of a panel.
fn row_cost(sum: &Sum<'_>, panel: usize) -> usize {
    let p = &sum.weights.panels()[panel];
    (p.count() * BLOCK + 8) * p.width * sum.width
}

/// Lists the jobs of all products: about eight per thread, so that the last
/// ones end together, but none so small that taking it costs more than a
/// percent.
pub(super) fn cut(isa: Isa, products: &[Prepared<'_>]) -> Vec<Job> {
    const LEAST: usize = 1 << 17;
    let cost = |p: &Prepared<'_>, panel| {
        let coarse = p.coarse.iter().enumerate();
        let coarse = coarse.map(|(depth, (c, _))| row_cost(c, panel) >> (depth + 1));
        row_cost(&p.fine, panel) + coarse.sum::<usize>()
    };
    let total: usize = products
        .iter()
        .map(|p| {
            let rows = p.images * p.fine.height;
            (0..p.fine.weights.panels().len())
                .map(|i| cost(p, i))
                .sum::<usize>()
                * rows
        })
        .sum();
    let share = (total / (8 * rayon::current_num_threads())).max(LEAST);
    let mut jobs = Vec::new();
    for (product, p) in products.iter().enumerate() {
        if p.images * p.fine.height * p.fine.width == 0 {
            continue;
        }
        let panels = p.fine.weights.panels().len();
        let (parts, outside) = order(isa, p, (share / cost(p, 0)).max(1));
        let mut add = |panel, part: &Rows| {
            let (images, rows) = part.clone();
            jobs.push(Job {
                product,
                panel,
                images,
                rows,
            });
        };
        if outside {
            for part in &parts {
                (0..panels).for_each(|panel| add(panel, part));
            }
        } else {
            for panel in 0..panels {
                parts.iter().for_each(|part| add(panel, part));
            }
        }
    }
    jobs
}

/// Parts of about `rows` rows, and whether to do all panels of a part before the next part.
fn order(isa: Isa, p: &Prepared<'_>, rows: usize) -> (Vec<Rows>, bool) {
    // Tiles of sixteen channels read the inputs twice as often as those of a whole panel.
    if widest_panel(isa) < PANEL
        && let Some(parts) = parts_that_fit(p, rows)
    {
        return (parts, true);
    }
    let parts = parts(p, rows);
    let outside = rows_outside(p, parts.len());
    (parts, outside)
}

/// Parts whose inputs stay in the cache of a core from panel to panel, beside the weights of one,
/// if inputs of `rows` rows would not and less is read from beyond the cache than panel by panel.
fn parts_that_fit(p: &Prepared<'_>, rows: usize) -> Option<Vec<Rows>> {
    const CACHE: usize = 48 << 10;
    // Panels of groups read inputs of their own.
    if p.fine.weights.shapes().iter().any(|k| k.groups > 1) {
        return None;
    }
    // All pixels of a strided kernel's input, or every other line of a strided tap's.
    let row = |s: &Sum<'_>| -> usize {
        let read = |(k, source): (&SourceShape, &SourceGeometry)| {
            let lines = if k.size[0] > 1 { source.stride } else { 1 };
            k.c_in * s.width * source.stride * lines
        };
        s.weights.shapes().iter().zip(&s.sources).map(read).sum()
    };
    let coarse = p.coarse.iter().enumerate();
    let coarse = coarse.map(|(depth, (c, _))| row(c) >> (depth + 1));
    let row = row(&p.fine) + coarse.sum::<usize>();
    let fit = (CACHE / row.max(1)).max(1);
    if fit >= rows {
        return None;
    }
    let parts = parts(p, fit);
    let sums = p.coarse.iter().map(|(c, _)| c).chain([&p.fine]);
    let weights = sums.map(|s| s.weights.data().len()).sum::<usize>();
    let panels = p.fine.weights.panels().len();
    let inputs = p.images * p.fine.height * row;
    (inputs + weights * parts.len() < weights + inputs * panels).then_some(parts)
}

/// Cuts the rows of all images into parts of about `rows` rows: rows of one
/// image, or whole images.
fn parts(p: &Prepared<'_>, rows: usize) -> Vec<Rows> {
    let height = p.fine.height;
    let (images, rows) = if rows >= height {
        (rows / height, height)
    } else {
        // Whole rows of the coarsest sum and of a pooled map.
        (1, rows.next_multiple_of(1 << p.coarse.len().max(1)))
    };
    let mut parts = Vec::new();
    for image in (0..p.images).step_by(images) {
        for first in (0..height).step_by(rows) {
            parts.push((
                image..(image + images).min(p.images),
                first..(first + rows).min(height),
            ));
        }
    }
    parts
}

/// Whether to do all panels of a part of the rows before the next part, rather
/// than all rows of a panel: whichever reads less from beyond the cache of a
/// core, inputs once per panel or weights once per part.
fn rows_outside(p: &Prepared<'_>, parts: usize) -> bool {
    const CACHE: usize = 1 << 17;
    let inputs = |s: &Sum<'_>| -> usize {
        s.weights.shapes().iter().map(|k| k.c_in).sum::<usize>() * s.height * s.width
    };
    let sums = || p.coarse.iter().map(|(c, _)| c).chain([&p.fine]);
    let x = p.images * sums().map(inputs).sum::<usize>();
    let w = sums().map(|s| s.weights.data().len()).sum::<usize>();
    let panels = p.fine.weights.panels().len();
    let again = |size: usize, times: usize| if size > CACHE { size * times } else { size };
    x + again(w, parts) < w + again(x, panels)
}
