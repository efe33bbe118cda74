//! ResNet-50 (v1, stride in the 3×3) and Oct-ResNet-50 as a list of regions.

use burn_octconv::engine::conv::{
    Activation, Coarse, Kernel, Output, PackedWeights, Product, Source, Stem, StemWeights, run,
};
use burn_octconv::engine::head::classify;
use burn_octconv::engine::pool::{average_pool2, global_average};
use burn_octconv::engine::{BlockedMap, Isa};

type Id = usize;

/// A product with indices in place of references.
pub struct Node {
    weights: PackedWeights,
    sources: Vec<(Id, usize, usize)>,
    coarse: Option<(PackedWeights, Vec<(Id, usize)>)>,
    residual: Option<Id>,
    relu: bool,
    size: [usize; 3],
    out: Option<Id>,
    pooled: Option<Id>,
    macs: usize,
}

pub enum Op {
    Stem(StemWeights, Id),
    Region(Vec<Node>),
    Pool(Vec<(Id, Id)>),
    Gap(Id, Id),
    Classify(PackedWeights, Id),
}

pub struct Net {
    pub isa: Isa,
    pub ops: Vec<(String, Op)>,
    maps: Vec<BlockedMap>,
    batch: usize,
    seed: u32,
    scratch: BlockedMap,
    pub logits: Vec<f32>,
}

/// Both groups of a feature map: channels, size, maps and what derives of them.
#[derive(Clone, Copy, Default)]
struct Group {
    c: usize,
    h: usize,
    map: Option<Id>,
    pooled: Option<Id>,
}

#[derive(Clone, Copy, Default)]
struct Pair {
    high: Group,
    low: Group,
}

impl Net {
    pub fn resnet50(isa: Isa, batch: usize, alpha: f64) -> Self {
        let mut net = Net {
            isa,
            ops: vec![],
            maps: vec![],
            batch,
            seed: 1,
            scratch: BlockedMap::default(),
            logits: vec![0.0; batch * 1000],
        };
        net.build(alpha);
        net
    }

    fn random(&mut self, len: usize, fan: usize) -> Vec<f32> {
        let scale = (1.5 / fan as f32).sqrt();
        (0..len)
            .map(|_| {
                self.seed = self.seed.wrapping_mul(1664525).wrapping_add(1013904223);
                ((self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
            })
            .collect()
    }

    fn map(&mut self, c: usize, h: usize, pad: usize) -> Id {
        self.maps
            .push(BlockedMap::zeros([self.batch, c, h, h], pad));
        self.maps.len() - 1
    }

    fn weights(&mut self, c_out: usize, sources: &[(usize, usize)]) -> (PackedWeights, usize) {
        let fan = sources.iter().map(|(c, k)| c * k * k).sum();
        let data: Vec<_> = sources
            .iter()
            .map(|&(c, k)| self.random(c_out * c * k * k, fan))
            .collect();
        let kernels: Vec<_> = sources
            .iter()
            .zip(&data)
            .map(|(&(c, k), w)| Kernel::new(w, c, k))
            .collect();
        let bias = self.random(c_out, 100);
        (
            PackedWeights::new(self.isa, c_out, &kernels, Some(&bias)),
            fan,
        )
    }

    /// One output group. Sources: (map, channels, kernel, stride).
    #[allow(clippy::too_many_arguments)]
    fn node(
        &mut self,
        c_out: usize,
        h: usize,
        sources: &[(Option<Id>, usize, usize, usize)],
        coarse: &[(Option<Id>, usize, usize)],
        residual: Option<Id>,
        out: Option<Id>,
        pooled: Option<Id>,
    ) -> Node {
        let fine: Vec<_> = sources
            .iter()
            .filter(|s| s.0.is_some() && s.1 > 0)
            .collect();
        let (weights, fan) =
            self.weights(c_out, &fine.iter().map(|s| (s.1, s.2)).collect::<Vec<_>>());
        let mut macs = fan * c_out * h * h * self.batch;
        let low: Vec<_> = coarse.iter().filter(|s| s.0.is_some() && s.1 > 0).collect();
        let coarse = (!low.is_empty()).then(|| {
            let (w, fan) = self.weights(c_out, &low.iter().map(|s| (s.1, s.2)).collect::<Vec<_>>());
            macs += fan * c_out * (h / 2) * (h / 2) * self.batch;
            (w, low.iter().map(|s| (s.0.unwrap(), s.2 / 2)).collect())
        });
        Node {
            weights,
            sources: fine.iter().map(|s| (s.0.unwrap(), s.2 / 2, s.3)).collect(),
            coarse,
            residual,
            relu: true,
            size: [self.batch, h, h],
            out,
            pooled,
            macs,
        }
    }

    fn build(&mut self, alpha: f64) {
        let oct = alpha > 0.0;
        let w = self.random(64 * 147, 147);
        let stem_out = self.map(64, 56, 0);
        self.ops.push((
            "stem".into(),
            Op::Stem(StemWeights::new(&w, 64, 3, [7, 7], None), stem_out),
        ));
        let mut x = Pair {
            high: Group {
                c: 64,
                h: 56,
                map: Some(stem_out),
                pooled: None,
            },
            low: Group::default(),
        };
        if oct {
            let p = self.map(64, 28, 0);
            self.ops
                .push(("stem pool".into(), Op::Pool(vec![(stem_out, p)])));
            x.high.pooled = Some(p);
        }
        let mut ping = std::collections::HashMap::<(usize, usize, usize, usize), Id>::new();
        for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
            let planes = 64 << stage;
            let a = if stage == 3 { 0.0 } else { alpha };
            for block in 0..blocks {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("s{}b{}", stage + 1, block + 1);
                let proj = block == 0;
                let split = |c: usize| {
                    (
                        (c as f64 * (1.0 - a)).ceil() as usize,
                        (c as f64 * a) as usize,
                    )
                };
                let (mh, ml) = split(planes);
                let (oh, ol) = split(4 * planes);
                let h1 = x.high.h;
                let h2 = h1 / stride;
                // Buffers of a shape serve again two blocks later.
                let mut get =
                    |net: &mut Self, c: usize, h: usize, pad: usize, slot: usize| -> Option<Id> {
                        (c > 0).then(|| {
                            *ping
                                .entry((c, h, pad, slot))
                                .or_insert_with(|| net.map(c, h, pad))
                        })
                    };
                let s2 = oct && stride == 2;
                // conv1
                let z1 = Pair {
                    high: Group {
                        c: mh,
                        h: h1,
                        map: if s2 { None } else { get(self, mh, h1, 1, 0) },
                        pooled: if ml > 0 || s2 {
                            get(self, mh, h1 / 2, 1, 1)
                        } else {
                            None
                        },
                    },
                    low: Group {
                        c: ml,
                        h: h1 / 2,
                        map: get(self, ml, h1 / 2, 1, 2),
                        pooled: if s2 {
                            get(self, ml, h1 / 4, 1, 3)
                        } else {
                            None
                        },
                    },
                };
                let high = self.node(
                    mh,
                    h1,
                    &[(x.high.map, x.high.c, 1, 1)],
                    &[(x.low.map, x.low.c, 1)],
                    None,
                    z1.high.map,
                    z1.high.pooled,
                );
                let mut region = vec![high];
                if ml > 0 {
                    let s = [(x.high.pooled, x.high.c, 1, 1), (x.low.map, x.low.c, 1, 1)];
                    region.push(self.node(ml, h1 / 2, &s, &[], None, z1.low.map, z1.low.pooled));
                }
                self.ops.push((format!("{name} 1x1"), Op::Region(region)));
                let mut twice = (None, None, None);
                if s2 && ml > 0 {
                    twice.0 = get(self, mh, h1 / 4, 1, 4);
                    twice.1 = get(self, x.high.c, h1 / 4, 0, 5);
                    twice.2 = get(self, x.low.c, h1 / 4, 0, 6);
                    let pairs = vec![
                        (z1.high.pooled.unwrap(), twice.0.unwrap()),
                        (x.high.pooled.unwrap(), twice.1.unwrap()),
                        (x.low.map.unwrap(), twice.2.unwrap()),
                    ];
                    self.ops.push((format!("{name} pool"), Op::Pool(pairs)));
                }
                // conv2
                let z2 = Pair {
                    high: Group {
                        c: mh,
                        h: h2,
                        map: get(self, mh, h2, 0, 7),
                        pooled: if ml > 0 {
                            get(self, mh, h2 / 2, 0, 8)
                        } else {
                            None
                        },
                    },
                    low: Group {
                        c: ml,
                        h: h2 / 2,
                        map: get(self, ml, h2 / 2, 0, 9),
                        pooled: None,
                    },
                };
                let mut region = vec![];
                if s2 {
                    let s = [(z1.high.pooled, mh, 3, 1), (z1.low.map, ml, 3, 1)];
                    region.push(self.node(mh, h2, &s, &[], None, z2.high.map, z2.high.pooled));
                    if ml > 0 {
                        let s = [(twice.0, mh, 3, 1), (z1.low.pooled, ml, 3, 1)];
                        region.push(self.node(ml, h2 / 2, &s, &[], None, z2.low.map, None));
                    }
                } else {
                    let s = [(z1.high.map, mh, 3, stride)];
                    region.push(self.node(
                        mh,
                        h2,
                        &s,
                        &[(z1.low.map, ml, 3)],
                        None,
                        z2.high.map,
                        z2.high.pooled,
                    ));
                    if ml > 0 {
                        let s = [(z1.high.pooled, mh, 3, 1), (z1.low.map, ml, 3, 1)];
                        region.push(self.node(ml, h2 / 2, &s, &[], None, z2.low.map, None));
                    }
                }
                self.ops.push((format!("{name} 3x3"), Op::Region(region)));
                // conv3, shortcut, sum
                let parity = 10 + block % 2 * 3;
                let y = Pair {
                    high: Group {
                        c: oh,
                        h: h2,
                        map: get(self, oh, h2, 0, parity),
                        pooled: if ol > 0 {
                            get(self, oh, h2 / 2, 0, parity + 1)
                        } else {
                            None
                        },
                    },
                    low: Group {
                        c: ol,
                        h: h2 / 2,
                        map: get(self, ol, h2 / 2, 0, parity + 2),
                        pooled: None,
                    },
                };
                let mut fine = vec![(z2.high.map, mh, 1, 1)];
                let mut coarse = vec![(z2.low.map, ml, 1)];
                let mut low = vec![(z2.high.pooled, mh, 1, 1), (z2.low.map, ml, 1, 1)];
                if proj && s2 {
                    fine.push((x.high.pooled, x.high.c, 1, 1));
                    fine.push((x.low.map, x.low.c, 1, 1));
                    low.push((twice.1, x.high.c, 1, 1));
                    low.push((twice.2, x.low.c, 1, 1));
                } else if proj {
                    fine.push((x.high.map, x.high.c, 1, stride));
                    coarse.push((x.low.map, x.low.c, 1));
                    low.push((x.high.pooled, x.high.c, 1, 1));
                    low.push((x.low.map, x.low.c, 1, 1));
                }
                let residual = |id: Option<Id>| if proj { None } else { id };
                let mut region = vec![self.node(
                    oh,
                    h2,
                    &fine,
                    &coarse,
                    residual(x.high.map),
                    y.high.map,
                    y.high.pooled,
                )];
                if ol > 0 {
                    region.push(self.node(
                        ol,
                        h2 / 2,
                        &low,
                        &[],
                        residual(x.low.map),
                        y.low.map,
                        None,
                    ));
                }
                self.ops.push((format!("{name} out"), Op::Region(region)));
                x = y;
            }
        }
        let features = self.maps.len();
        self.maps
            .push(BlockedMap::zeros([1, 2048, 1, self.batch], 0));
        self.ops
            .push(("gap".into(), Op::Gap(x.high.map.unwrap(), features)));
        let (w, _) = self.weights(1000, &[(2048, 1)]);
        self.ops.push(("fc".into(), Op::Classify(w, features)));
    }

    pub fn macs(&self, op: usize) -> usize {
        match &self.ops[op].1 {
            Op::Stem(..) => 64 * 147 * 112 * 112 * self.batch,
            Op::Region(nodes) => nodes.iter().map(|n| n.macs).sum(),
            Op::Classify(..) => 2048 * 1000 * self.batch,
            _ => 0,
        }
    }

    pub fn step(&mut self, op: usize, input: &[f32]) {
        let isa = self.isa;
        match &self.ops[op].1 {
            Op::Stem(weights, out) => {
                let stem = Stem {
                    weights,
                    input,
                    size: [self.batch, 224, 224],
                    stride: 2,
                    padding: [3, 3],
                    activation: Activation::Relu,
                    max_pool: true,
                };
                stem.run(isa, &mut self.maps[*out]);
            }
            Op::Region(nodes) => {
                let mut outs: Vec<_> = nodes
                    .iter()
                    .map(|n| {
                        [n.out, n.pooled]
                            .map(|id| id.map(|i| (i, std::mem::take(&mut self.maps[i]))))
                    })
                    .collect();
                let maps = &self.maps;
                let products = nodes
                    .iter()
                    .zip(&mut outs)
                    .map(|(n, [out, pooled])| Product {
                        weights: &n.weights,
                        sources: n
                            .sources
                            .iter()
                            .map(|&(m, p, s)| Source::new(&maps[m], p).strided(s))
                            .collect(),
                        coarse: n.coarse.as_ref().map(|(w, s)| Coarse {
                            weights: w,
                            sources: s.iter().map(|&(m, p)| Source::new(&maps[m], p)).collect(),
                            spread: false,
                        }),
                        residual: n.residual.map(|r| &maps[r]),
                        activation: if n.relu {
                            Activation::Relu
                        } else {
                            Activation::Identity
                        },
                        size: n.size,
                        output: out
                            .as_mut()
                            .map_or(Output::Nowhere, |o| Output::Map(&mut o.1, 0)),
                        pooled: pooled.as_mut().map(|p| &mut p.1),
                    })
                    .collect();
                run(isa, products);
                for (i, map) in outs.into_iter().flatten().flatten() {
                    self.maps[i] = map;
                }
            }
            Op::Pool(pairs) => {
                for &(from, to) in pairs {
                    let mut out = std::mem::take(&mut self.maps[to]);
                    average_pool2(isa, &self.maps[from], &mut out);
                    self.maps[to] = out;
                }
            }
            Op::Gap(from, to) => {
                let mut out = std::mem::take(&mut self.maps[*to]);
                global_average(isa, &self.maps[*from], &mut out);
                self.maps[*to] = out;
            }
            Op::Classify(weights, from) => {
                classify(
                    isa,
                    weights,
                    &self.maps[*from],
                    &mut self.scratch,
                    &mut self.logits,
                );
            }
        }
    }

    pub fn run(&mut self, input: &[f32]) {
        for op in 0..self.ops.len() {
            self.step(op, input);
        }
    }
}
