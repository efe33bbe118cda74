//! Forward pass of an octave convolution.

use super::intake::{Intake, intake};
use super::operands::{HALVINGS, LEVELS, Operands, images_of};
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
        self.check_kernels(&operands.kernels);
        for path in &self.plan().paths {
            let floats: usize = self.input(path.from).into_iter().product();
            let (input, level) = (operands.input(path.from).len(), path.from);
            assert_eq!(input, self.images() * floats, "input of level {level}");
        }
    }

    /// Checks that there is a kernel for every path, with the weights of this geometry.
    pub(super) fn check_kernels(&self, kernels: &[&[f32]]) {
        let plan = self.plan();
        let paths = plan.paths.len();
        assert_eq!(kernels.len(), paths, "kernels of {paths} paths");
        for (path, kernel) in plan.paths.iter().zip(kernels) {
            let [rows, columns] = plan.weight_dims(path);
            let [height, width] = plan.kernel_size;
            let weights = rows * columns * height * width;
            assert_eq!(kernel.len(), weights, "weights of {path:?}");
        }
    }

    /// How often the results of the paths into a level are upsampled, at most.
    fn deepest(&self, to: usize) -> usize {
        let ups = self.plan().into_group(to).map(|path| path.up);
        ups.max().unwrap_or(0)
    }

    /// Packs the kernels of the paths that are added to a level.
    fn pack(&self, isa: Isa, operands: &Operands<'_>, to: usize, ws: &mut Workspace) {
        let plan = self.plan();
        let channels = plan.output[to];
        let width = panel_width(isa, channels, plan.groups);
        for (up, packed) in ws.packed[to]
            .iter_mut()
            .enumerate()
            .take(self.deepest(to) + 1)
        {
            let paths = self.paths(|path| (path.to, path.up) == (to, up));
            let kernel = |(i, path): (usize, &octave_plan::Path)| {
                self.kernel(operands.kernels[i], plan.input[path.from], false)
            };
            let kernels: Vec<Kernel<'_>> = paths.into_iter().map(kernel).collect();
            let bias = operands.biases[to].filter(|_| up == 0);
            packed.pack_panels(isa, channels, width, &kernels, bias);
        }
    }

    /// The sum of the paths into a level, for `n` images.
    fn product<'a>(&self, ws: &'a Workspace, to: usize, n: usize, y: &'a mut [f32]) -> Product<'a> {
        let sources = |up: usize| -> Vec<Source<'a>> {
            let paths = self.paths(|path| (path.to, path.up) == (to, up));
            let source = |(_, path): (usize, &octave_plan::Path)| Source {
                stride: path.stride,
                padding: self.padding(),
                ..Source::new(&ws.x[path.from][path.pool + path.down], 0)
            };
            paths.into_iter().map(source).collect()
        };
        let ([_, h, w], packed) = (self.output(to), &ws.packed[to]);
        let mut product = Product::new(&packed[0], sources(0), [n, h, w], Output::Planar(y));
        let coarse = (1..=self.deepest(to)).map(|up| Coarse {
            weights: &packed[up],
            sources: sources(up),
            spread: false,
        });
        product.coarse = coarse.collect();
        product
    }

    /// The inputs that the paths with the given numbers read, in the forms in
    /// which they read them.
    pub(super) fn intake_inputs<'a>(
        &self,
        operands: &Operands<'a>,
        paths: &[usize],
        maps: &'a mut [[BlockedMap; HALVINGS]; LEVELS],
    ) -> Vec<Intake<'a>> {
        let mut tensors = Vec::with_capacity(LEVELS);
        for (level, maps) in maps.iter_mut().enumerate() {
            let paths = paths.iter().map(|&i| &self.plan().paths[i]);
            let from = paths.filter(|path| path.from == level);
            let halvings: Vec<usize> = from.map(|path| path.pool + path.down).collect();
            if halvings.is_empty() {
                continue;
            }
            tensors.push(Intake {
                from: operands.input(level),
                dims: self.input(level),
                pad: self.border(),
                maps: wanted(maps, |n| halvings.contains(&n)),
                sum: false,
            });
        }
        tensors
    }
}

/// Those maps whose number of halvings is wanted.
pub(super) fn wanted(
    maps: &mut [BlockedMap; HALVINGS],
    wanted: impl Fn(usize) -> bool,
) -> [Option<&mut BlockedMap>; HALVINGS] {
    let mut halvings = 0..;
    maps.each_mut().map(|map| {
        let number = halvings.next()?;
        wanted(number).then_some(map)
    })
}
