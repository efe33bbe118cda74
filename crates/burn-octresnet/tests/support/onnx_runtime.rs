//! A runtime for ONNX in a few lines: the operations that our files use, in f64, after the text of
//! the standard (<https://onnx.ai/onnx/operators>). Tests thus need no other, and run what was
//! written rather than what was meant.

use std::collections::HashMap;

use onnx_ir::{ModelProto, NodeProto, TensorProto};

/// Numbers of any type and number of axes.
#[derive(Debug, Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// Computes the only output from the only input.
pub fn run(model: &ModelProto, input: Array) -> Array {
    let graph = &model.graph;
    let mut values: HashMap<&str, Array> = HashMap::new();
    for tensor in &graph.initializer {
        values.insert(&tensor.name, initializer(tensor));
    }
    values.insert(&graph.input[0].name, input);
    for node in &graph.node {
        let inputs = node.input.iter().map(|name| values.get(name.as_str()));
        let inputs: Vec<_> = inputs.collect();
        let output = Node { node, inputs }.compute();
        values.insert(&node.output[0], output);
    }
    values.remove(graph.output[0].name.as_str()).unwrap()
}

fn initializer(tensor: &TensorProto) -> Array {
    let shape = tensor.dims.iter().map(|&extent| extent as usize).collect();
    let bytes = &tensor.raw_data;
    let data = match tensor.data_type {
        1 => (bytes.chunks(4))
            .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
            .collect(),
        7 => (bytes.chunks(8))
            .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f64)
            .collect(),
        other => panic!("{} is of type {other}", tensor.name),
    };
    Array { shape, data }
}

/// The window of a convolution or pooling along both axes.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    /// At the top and on the left.
    padding: [usize; 2],
    output: [usize; 2],
}

impl Window {
    /// The places in the input, which has `size`, that the output pixel reads, each with its place
    /// in the kernel.
    fn read(&self, pixel: [usize; 2], size: [usize; 2]) -> Vec<([usize; 2], [usize; 2])> {
        let axis = |axis: usize| {
            let start = pixel[axis] * self.stride[axis];
            (0..self.kernel[axis]).filter_map(move |k| {
                let place = (start + k).checked_sub(self.padding[axis])?;
                (place < size[axis]).then_some((place, k))
            })
        };
        let rows = axis(0).flat_map(|row| axis(1).map(move |column| (row, column)));
        let places = rows.map(|((y, i), (x, j))| ([y, x], [i, j]));
        places.collect()
    }
}

struct Node<'a> {
    node: &'a NodeProto,
    inputs: Vec<Option<&'a Array>>,
}

impl Node<'_> {
    fn compute(&self) -> Array {
        match self.node.op_type.as_str() {
            "Conv" | "AveragePool" if self.input(0).shape.len() == 3 => self.as_row(),
            "Conv" => self.conv(),
            "Relu" => self.map(|x| x.max(0.0)),
            "Neg" => self.map(|x| -x),
            "Sigmoid" => self.map(|x| 1.0 / (1.0 + (-x).exp())),
            "Clip" => {
                let [low, high] = [1, 2].map(|index| self.input(index).data[0]);
                self.map(|x| x.clamp(low, high))
            }
            "Add" => self.zip(|a, b| a + b),
            "Mul" => self.zip(|a, b| a * b),
            "BatchNormalization" => self.batch_norm(),
            "MaxPool" => self.pool(|window| window.iter().copied().fold(f64::MIN, f64::max)),
            "AveragePool" => {
                assert_eq!(self.int("count_include_pad"), 0);
                self.pool(|window| window.iter().sum::<f64>() / window.len() as f64)
            }
            "GlobalAveragePool" => self.global_average(),
            "Resize" => self.resize(),
            "MatMul" => self.matmul(),
            "Reshape" => self.reshape(),
            "Shape" => {
                let shape = &self.input(0).shape;
                let end = match self.int("end") {
                    0 => shape.len(),
                    end => end as usize,
                };
                vector(shape[..end].iter().map(|&extent| extent as f64))
            }
            "Gather" => self.gather(),
            "Concat" => self.concat(),
            "Pad" => self.pad(),
            other => panic!("no {other} here"),
        }
    }

    /// An operation over one axis, as one over a single row.
    fn as_row(&self) -> Array {
        let lifted = self.inputs.iter().map(|input| {
            let mut input = input.unwrap().clone();
            if input.shape.len() == 3 {
                input.shape.insert(2, 1);
            }
            input
        });
        let lifted: Vec<_> = lifted.collect();
        let inputs = lifted.iter().map(Some).collect();
        let mut y = Node { inputs, ..*self }.compute();
        y.shape.remove(2);
        y
    }

    fn input(&self, index: usize) -> &Array {
        self.inputs[index].unwrap_or_else(|| panic!("{} lacks input {index}", self.node.name))
    }

    fn int(&self, name: &str) -> i64 {
        let attribute = self.node.attribute.iter().find(|a| a.name == name);
        attribute.map_or(0, |attribute| attribute.i)
    }

    fn ints(&self, name: &str) -> Vec<usize> {
        let attribute = self.node.attribute.iter().find(|a| a.name == name);
        let attribute = attribute.unwrap_or_else(|| panic!("{} lacks {name}", self.node.op_type));
        attribute.ints.iter().map(|&i| i as usize).collect()
    }

    fn pair(&self, name: &str) -> [usize; 2] {
        match self.ints(name)[..] {
            [of_row] => [1, of_row],
            [height, width] => [height, width],
            ref other => panic!("{name} of {other:?}"),
        }
    }

    fn string(&self, name: &str) -> &[u8] {
        let attribute = self.node.attribute.iter().find(|a| a.name == name);
        attribute.map_or(b"", |attribute| &attribute.s)
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        let x = self.input(0);
        Array {
            shape: x.shape.clone(),
            data: x.data.iter().map(|&x| f(x)).collect(),
        }
    }

    /// Element by element; an axis of length 1, or that is not there, is repeated.
    fn zip(&self, f: impl Fn(f64, f64) -> f64) -> Array {
        let (a, b) = (self.input(0), self.input(1));
        let rank = a.shape.len().max(b.shape.len());
        let extents = |x: &Array| [vec![1; rank - x.shape.len()], x.shape.clone()].concat();
        let (of_a, of_b) = (extents(a), extents(b));
        let shape: Vec<usize> = of_a.iter().zip(&of_b).map(|(a, b)| *a.max(b)).collect();
        let value = |x: &Array, extents: &[usize], index: &[usize]| {
            let places = index.iter().zip(extents);
            x.data[places.fold(0, |at, (&i, &extent)| {
                at * extent + if extent == 1 { 0 } else { i }
            })]
        };
        let data = indices(&shape)
            .map(|index| f(value(a, &of_a, &index), value(b, &of_b, &index)))
            .collect();
        Array { shape, data }
    }

    fn window(&self, kernel: [usize; 2]) -> Window {
        let stride = self.pair("strides");
        let pads = match self.ints("pads")[..] {
            [begin, end] => vec![0, begin, 0, end],
            ref both => both.to_vec(),
        };
        let x = self.input(0);
        let output = [0, 1].map(|axis| {
            let room = x.shape[2 + axis] + pads[axis] + pads[2 + axis] - kernel[axis];
            match self.int("ceil_mode") {
                0 => room / stride[axis] + 1,
                _ => room.div_ceil(stride[axis]) + 1,
            }
        });
        Window {
            kernel,
            stride,
            padding: [pads[0], pads[1]],
            output,
        }
    }

    fn conv(&self) -> Array {
        assert_eq!(self.pair("dilations"), [1, 1]);
        let (x, w, group) = (self.input(0), self.input(1), self.int("group") as usize);
        let [batch, channels, height, width] = quad(x);
        let [outputs, inputs, kh, kw] = quad(w);
        assert_eq!(channels, inputs * group);
        let window = self.window([kh, kw]);
        let [rows, columns] = window.output;
        let plane = rows * columns;
        let mut data = vec![0.0; batch * outputs * plane];
        for (pixel, index) in indices(&window.output).enumerate() {
            let places = window.read([index[0], index[1]], [height, width]);
            for n in 0..batch {
                for o in 0..outputs {
                    let bias = self.inputs.get(2).map_or(0.0, |bias| bias.unwrap().data[o]);
                    let first = o / (outputs / group) * inputs;
                    let sum: f64 = (0..inputs)
                        .map(|i| {
                            let (map, kernel) = (n * channels + first + i, o * inputs + i);
                            let terms = places.iter().map(|&([y, x_], [k, l])| {
                                x.data[(map * height + y) * width + x_]
                                    * w.data[(kernel * kh + k) * kw + l]
                            });
                            terms.sum::<f64>()
                        })
                        .sum();
                    data[(n * outputs + o) * plane + pixel] = sum + bias;
                }
            }
        }
        Array {
            shape: vec![batch, outputs, rows, columns],
            data,
        }
    }

    fn pool(&self, f: impl Fn(&[f64]) -> f64) -> Array {
        let x = self.input(0);
        let [batch, channels, height, width] = quad(x);
        let window = self.window(self.pair("kernel_shape"));
        let maps = x.data.chunks(height * width);
        let data = maps.flat_map(|map| {
            let (window, f) = (&window, &f);
            indices(&window.output).map(move |index| {
                let places = window.read([index[0], index[1]], [height, width]);
                let values = places.iter().map(|([y, x], _)| map[y * width + x]);
                f(&values.collect::<Vec<_>>())
            })
        });
        Array {
            data: data.collect(),
            shape: [vec![batch, channels], window.output.to_vec()].concat(),
        }
    }

    fn global_average(&self) -> Array {
        let x = self.input(0);
        let [batch, channels, height, width] = quad(x);
        let maps = x.data.chunks(height * width);
        Array {
            shape: vec![batch, channels, 1, 1],
            data: maps
                .map(|map| map.iter().sum::<f64>() / map.len() as f64)
                .collect(),
        }
    }

    fn batch_norm(&self) -> Array {
        let epsilon = self.node.attribute.iter().find(|a| a.name == "epsilon");
        let epsilon = f64::from(epsilon.unwrap().f);
        let mut x = self.input(0).clone();
        let [_, channels, height, width] = quad(&x);
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|index| &self.input(index).data);
        for (map, values) in x.data.chunks_mut(height * width).enumerate() {
            let c = map % channels;
            let scale = gamma[c] / (variance[c] + epsilon).sqrt();
            values
                .iter_mut()
                .for_each(|x| *x = (*x - mean[c]) * scale + beta[c]);
        }
        x
    }

    /// Nearest neighbour with the rounding that every runtime has.
    fn resize(&self) -> Array {
        assert_eq!(self.string("mode"), b"nearest");
        assert_eq!(self.string("coordinate_transformation_mode"), b"asymmetric");
        assert_eq!(self.string("nearest_mode"), b"floor");
        let x = self.input(0);
        let [batch, channels, height, width] = quad(x);
        let size = self.input(3).data.iter().map(|&extent| extent as usize);
        let mut shape: Vec<usize> = size.collect();
        if shape.len() == 2 {
            // Of the axes that are named.
            assert_eq!(self.ints("axes"), [2, 3]);
            shape.splice(..0, [batch, channels]);
        }
        assert_eq!(shape[..2], [batch, channels]);
        let (rows, columns) = (shape[2], shape[3]);
        // In single precision, as runtimes compute it.
        let place = |index: usize, from: usize, to: usize| {
            (index as f32 / (to as f32 / from as f32)).floor() as usize
        };
        let data = indices(&shape).map(|index| {
            let (y, x_) = (
                place(index[2], height, rows),
                place(index[3], width, columns),
            );
            x.data[((index[0] * channels + index[1]) * height + y) * width + x_]
        });
        Array {
            data: data.collect(),
            shape,
        }
    }

    fn matmul(&self) -> Array {
        let (a, b) = (self.input(0), self.input(1));
        let ([rows, inner], [_, columns]) = (matrix(a), matrix(b));
        let element = |row: usize, column: usize| {
            let terms = (0..inner).map(|i| a.data[row * inner + i] * b.data[i * columns + column]);
            terms.sum::<f64>()
        };
        let data = indices(&[rows, columns]).map(|index| element(index[0], index[1]));
        Array {
            data: data.collect(),
            shape: vec![rows, columns],
        }
    }

    fn reshape(&self) -> Array {
        let x = self.input(0);
        let extents = &self.input(1).data;
        let known: f64 = extents.iter().filter(|&&extent| extent > 0.0).product();
        let open = x.data.len() / known as usize;
        let extent = |&extent: &f64| if extent < 0.0 { open } else { extent as usize };
        Array {
            shape: extents.iter().map(extent).collect(),
            data: x.data.clone(),
        }
    }

    /// Along one axis, by a vector of indices.
    fn gather(&self) -> Array {
        let (x, chosen) = (self.input(0), self.input(1));
        let axis = self.int("axis") as usize;
        let mut shape = x.shape.clone();
        shape[axis] = chosen.data.len();
        let data = indices(&shape).map(|mut index| {
            index[axis] = chosen.data[index[axis]] as usize;
            x.data[offset(&x.shape, &index)]
        });
        Array {
            data: data.collect(),
            shape,
        }
    }

    fn concat(&self) -> Array {
        let axis = self.int("axis") as usize;
        let parts: Vec<&Array> = (0..self.inputs.len()).map(|i| self.input(i)).collect();
        let mut shape = parts[0].shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let mut data = Vec::new();
        for row in 0..outer {
            for part in &parts {
                let length = part.data.len() / outer;
                data.extend_from_slice(&part.data[row * length..][..length]);
            }
        }
        Array { shape, data }
    }

    /// With zeros, behind what is there.
    fn pad(&self) -> Array {
        assert_eq!(self.string("mode"), b"constant");
        assert!(self.input(2).data.iter().all(|&value| value == 0.0));
        let x = self.input(0);
        let (before, behind) = self.input(1).data.split_at(x.shape.len());
        assert!(before.iter().all(|&count| count == 0.0));
        let extents = x.shape.iter().zip(behind);
        let shape: Vec<usize> = extents
            .map(|(extent, more)| extent + *more as usize)
            .collect();
        let data = indices(&shape).map(|index| {
            let inside = index.iter().zip(&x.shape).all(|(i, extent)| i < extent);
            if inside {
                x.data[offset(&x.shape, &index)]
            } else {
                0.0
            }
        });
        Array {
            data: data.collect(),
            shape,
        }
    }
}

fn vector(values: impl Iterator<Item = f64>) -> Array {
    let data: Vec<f64> = values.collect();
    Array {
        shape: vec![data.len()],
        data,
    }
}

fn quad(x: &Array) -> [usize; 4] {
    x.shape.clone().try_into().unwrap()
}

fn matrix(x: &Array) -> [usize; 2] {
    x.shape.clone().try_into().unwrap()
}

fn offset(shape: &[usize], index: &[usize]) -> usize {
    let places = index.iter().zip(shape);
    places.fold(0, |at, (i, extent)| at * extent + i)
}

/// Every index into a shape, in order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    (0..shape.iter().product()).map(move |mut at: usize| {
        let mut index = vec![0; shape.len()];
        for (place, extent) in index.iter_mut().zip(&shape).rev() {
            (*place, at) = (at % extent, at / extent);
        }
        index
    })
}
