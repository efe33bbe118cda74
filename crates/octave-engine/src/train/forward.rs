//! Forward pass of an octave convolution.

use super::intake::{Intake, intake};
use super::operands::{LEVELS, Operands, images_of};
use super::{OctConv, Workspace, depthwise, strided};
use crate::conv::{Coarse, Kernel, Output, Product, Source, panel_width, run};
use crate::isa::Isa;
use crate::map::BlockedMap;

impl OctConv {
    /// Computes the outputs, by level, from the operands.
    ///
    /// # Shapes
    ///
    /// `[n, c, h, w]` each, contiguous; sizes and channels as
    /// [`input`](Self::input) and [`output`](Self::output) say.
    ///
    /// # Panics
    ///
    /// If a tensor that a path needs is missing, or if lengths do not fit.
    pub fn forward(
        &self,
        isa: Isa,
        operands: &Operands<'_>,
        mut outputs: [Option<&mut [f32]>; LEVELS],
        ws: &mut Workspace,
    ) {
        self.check(operands);
        if self.plan().is_depthwise() {
            depthwise::forward(isa, self, operands, outputs);
            return;
        }
        if strided::is_stem(self) {
            let y = outputs[0].take().expect("a high output");
            strided::stem_forward(isa, self, operands, y, &mut ws.stem);
            return;
        }
        let all: Vec<_> = (0..self.plan().paths.len()).collect();
        for to in (0..LEVELS).filter(|&to| outputs[to].is_some()) {
            self.pack(isa, operands, to, ws);
        }
        for range in self.batches(self.input_floats()) {
            let tensors = self.intake_inputs(operands, &all, &mut ws.x);
            intake(isa, tensors, &range);
            let mut products = Vec::with_capacity(LEVELS);
            for (to, y) in outputs.iter_mut().enumerate() {
                if let Some(y) = y {
                    let at = images_of(y, self.images(), &range);
                    products.push(self.product(ws, to, range.len(), &mut y[at]));
                }
            }
            run(isa, products);
        }
    }

    /// Checks that the operands are there, with the lengths of this geometry.
    pub(super) fn check(&self, operands: &Operands<'_>) {
        let plan = self.plan();
        let paths = plan.paths.len();
        assert_eq!(operands.kernels.len(), paths, "kernels of {paths} paths");
        for (path, kernel) in plan.paths.iter().zip(&operands.kernels) {
            let [rows, columns] = plan.weight_dims(path);
            let [height, width] = plan.kernel_size;
            let weights = rows * columns * height * width;
            assert_eq!(kernel.len(), weights, "weights of {path:?}");
            let floats: usize = self.input(path.from).into_iter().product();
            let (input, level) = (operands.input(path.from).len(), path.from);
            assert_eq!(input, self.images() * floats, "input of level {level}");
        }
    }

    /// Packs the kernels of the paths that are added to a level.
    fn pack(&self, isa: Isa, operands: &Operands<'_>, to: usize, ws: &mut Workspace) {
        let plan = self.plan();
        let kernels = |up: usize| -> Vec<Kernel<'_>> {
            let paths = self
                .paths(|path| (path.to, path.up) == (to, up))
                .into_iter();
            let kernel = |(i, path): (usize, &octave_plan::Path)| {
                self.kernel(operands.kernels[i], plan.input[path.from], false)
            };
            paths.map(kernel).collect()
        };
        let (channels, bias) = (plan.output[to], operands.biases[to]);
        let width = panel_width(channels, plan.groups);
        ws.fine[to].pack_panels(isa, channels, width, &kernels(0), bias);
        ws.coarse[to].pack_panels(isa, channels, width, &kernels(1), None);
    }

    /// The sum of the paths into a level, for `n` images.
    fn product<'a>(&self, ws: &'a Workspace, to: usize, n: usize, y: &'a mut [f32]) -> Product<'a> {
        let sources = |up: usize| -> Vec<Source<'a>> {
            let paths = self
                .paths(|path| (path.to, path.up) == (to, up))
                .into_iter();
            let source = |(_, path): (usize, &octave_plan::Path)| Source {
                stride: path.stride,
                padding: self.padding(),
                ..Source::new(&ws.x[path.from][path.pool + path.down], 0)
            };
            paths.map(source).collect()
        };
        let [_, h, w] = self.output(to);
        let coarse = sources(1);
        let mut product = Product::new(&ws.fine[to], sources(0), [n, h, w], Output::Planar(y));
        product.coarse = (!coarse.is_empty()).then(|| Coarse {
            weights: &ws.coarse[to],
            sources: coarse,
            spread: false,
        });
        product
    }

    /// The inputs that the paths with the given numbers read, in the forms in
    /// which they read them.
    pub(super) fn intake_inputs<'a>(
        &self,
        operands: &Operands<'a>,
        paths: &[usize],
        maps: &'a mut [[BlockedMap; 3]; LEVELS],
    ) -> Vec<Intake<'a>> {
        let mut tensors = Vec::with_capacity(LEVELS);
        for (level, maps) in maps.iter_mut().enumerate() {
            let paths = paths.iter().map(|&i| &self.plan().paths[i]);
            let from = paths.filter(|path| path.from == level);
            let halvings: Vec<usize> = from.map(|path| path.pool + path.down).collect();
            if halvings.is_empty() {
                continue;
            }
            let mut wanted = maps
                .iter_mut()
                .enumerate()
                .map(|(n, map)| halvings.contains(&n).then_some(map));
            let mut next = || wanted.next().flatten();
            tensors.push(Intake {
                from: operands.input(level),
                dims: self.input(level),
                pad: self.border(),
                full: next(),
                half: next(),
                quarter: next(),
                sum: false,
            });
        }
        tensors
    }
}
