use std::fmt;

use burn::{
    store::{ModuleAdapter, ModuleContext, bridge, burn_pack},
    tensor::{DType, Shape, TensorData},
};

/// Blocks of each stage of MobileNet v1.
const MOBILENET_V1: [usize; 4] = [3, 2, 6, 2];

/// How the tensors of a network are called and laid out in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Burn's: `layer1.0.conv1.h2h`, `layer1.0.bn1.high.gamma`; linear weights `[in, out]`.
    Burn,
    /// That of <https://github.com/d-li14/octconv.pytorch>: `layer1.0.conv1.conv.conv_h2h.weight`,
    /// `layer1.0.conv1.bn_h.weight`, `layer2.0.downsample.0.conv.conv_h2h.weight`; linear weights
    /// `[out, in]`.
    Octave,
    /// That of vanilla ResNets in torchvision and timm: `layer1.0.conv1.weight`,
    /// `layer1.0.bn1.weight`, `layer2.0.downsample.0.weight`; linear weights `[out, in]`.
    Vanilla,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Burn => "Burn",
            Self::Octave => "octave",
            Self::Vanilla => "vanilla",
        })
    }
}

impl Layout {
    /// The layout with this name among a file's tensors.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        // What lies beside the stages may be another program's.
        let mut names = names.filter(|name| name.starts_with("layer"));
        if names.clone().any(|name| name.ends_with(".gamma")) {
            Self::Burn
        } else if names.any(|name| name.contains("conv_h2h.") || name.contains("conv_l2l.")) {
            Self::Octave
        } else {
            Self::Vanilla
        }
    }

    /// The name by the scheme that all networks share of a tensor that PyTorch's Oct-MobileNet v1
    /// numbers through: `features.3.1.bn_h.weight` is `layer1.2.conv2.bn_h.weight`.
    pub(super) fn family_name(name: &str) -> String {
        let numbered = || {
            let (block, rest) = name.strip_prefix("features.")?.split_once('.')?;
            let (layer, rest) = rest.split_once('.')?;
            let layer = match layer {
                "0" => 0,
                "1" => 1,
                _ => return None,
            };
            let mut index = match block.parse::<usize>().ok()?.checked_sub(1) {
                None => return Some(format!("{}.{rest}", ["conv1", "bn1"][layer])),
                Some(index) => index,
            };
            if !(rest.starts_with("conv.conv_") || rest.starts_with("bn_")) {
                return None;
            }
            for (stage, blocks) in (1..).zip(MOBILENET_V1) {
                if index < blocks {
                    return Some(format!("layer{stage}.{index}.conv{}.{rest}", layer + 1));
                }
                index -= blocks;
            }
            None
        };
        numbered().unwrap_or_else(|| name.into())
    }

    /// What a parameter of the network (its path without variants of blocks) is called.
    pub fn name(self, path: &str) -> String {
        if self == Self::Burn {
            return path.into();
        }
        let path: Vec<&str> = path.split('.').collect();
        let (rest, last) = path.split_at(path.len() - 1);
        let parameter = match last[0] {
            "gamma" => "weight",
            "beta" => "bias",
            other => other,
        };
        match self {
            Self::Vanilla => vanilla(rest, parameter),
            _ => octave(rest, parameter),
        }
    }

    /// The shape in the file of a parameter that has `shape` in the network.
    pub(super) fn shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Octave | Self::Vanilla, &[input, output]) => vec![output, input],
            _ => shape.to_vec(),
        }
    }
}

/// `downsample` is a sequence of convolution and norm in PyTorch.
fn vanilla(modules: &[&str], parameter: &str) -> String {
    let mut names = Vec::new();
    for (index, module) in modules.iter().enumerate() {
        names.push(match (module, modules.get(index.wrapping_sub(1))) {
            (&"conv", Some(&"downsample")) => "0",
            (&"bn", Some(&"downsample")) => "1",
            (&"high", _) => continue,
            (&"excite_high", _) => "excite",
            (module, _) => module,
        });
    }
    let kernel = parameter == "h2h";
    names.push(if kernel { "weight" } else { parameter });
    names.join(".")
}

/// A convolution and its norms are one module in PyTorch, named after the convolution.
fn octave(modules: &[&str], parameter: &str) -> String {
    let (parents, module) = match modules {
        [parents @ .., module, "high" | "low"] => (parents, *module),
        [parents @ .., module] => (parents, *module),
        [] => return parameter.into(),
    };
    let frequency = match modules.last() {
        Some(&"high") => Some("bn_h"),
        Some(&"low") => Some("bn_l"),
        _ => None,
    };
    let kernel = matches!(parameter, "h2h" | "h2l" | "l2h" | "l2l");
    if !kernel && frequency.is_none() {
        return [modules, &[parameter]].concat().join(".");
    }
    let mut names: Vec<String> = parents.iter().map(|name| name.to_string()).collect();
    names.push(match (module, parents.last()) {
        ("conv" | "bn", Some(&"downsample")) => "0".into(),
        (module, _) => module.replace("bn", "conv"),
    });
    match frequency {
        Some(norm) => names.extend([norm.into(), parameter.into()]),
        None => names.extend(["conv".into(), format!("conv_{parameter}"), "weight".into()]),
    }
    names.join(".")
}

/// Brings tensors into a layout as they are saved, in single or half precision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Export {
    pub(super) layout: Layout,
    pub(super) half: bool,
}

impl ModuleAdapter for Export {
    fn adapt(
        &self,
        mut tensor: burn_pack::Tensor,
        _context: ModuleContext<'_>,
    ) -> burn_pack::Tensor {
        let name = self.layout.name(&tensor.name);
        let shape = self.layout.shape(&tensor.shape);
        let transposed = self.layout != Layout::Burn && shape.len() == 2;
        if !transposed && !self.half {
            tensor.name = name;
            return tensor;
        }
        let dtype = if self.half { DType::F16 } else { tensor.dtype };
        bridge::map_data(tensor, name, dtype, Shape::from(shape), move |data| {
            let data = if transposed { transpose(data) } else { data };
            data.convert_dtype(dtype)
        })
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(*self)
    }
}

/// Swaps the axes of a matrix of single precision.
pub(super) fn transpose(data: TensorData) -> TensorData {
    let shape = data.shape().clone();
    let (rows, columns) = (shape[0], shape[1]);
    let values: Vec<f32> = data.iter::<f32>().collect();
    let swapped = (0..columns).flat_map(|c| values[c..].iter().step_by(columns).copied());
    TensorData::new(swapped.collect::<Vec<f32>>(), [columns, rows])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_layouts() {
        for (path, octave, vanilla) in [
            ("conv1.weight", "conv1.weight", "conv1.weight"),
            ("bn1.gamma", "bn1.weight", "bn1.weight"),
            ("bn1.running_var", "bn1.running_var", "bn1.running_var"),
            (
                "layer1.0.conv1.h2h",
                "layer1.0.conv1.conv.conv_h2h.weight",
                "layer1.0.conv1.weight",
            ),
            (
                "layer1.0.bn3.high.beta",
                "layer1.0.conv3.bn_h.bias",
                "layer1.0.bn3.bias",
            ),
            (
                "layer2.0.downsample.conv.h2h",
                "layer2.0.downsample.0.conv.conv_h2h.weight",
                "layer2.0.downsample.0.weight",
            ),
            (
                "layer2.0.downsample.bn.high.running_mean",
                "layer2.0.downsample.0.bn_h.running_mean",
                "layer2.0.downsample.1.running_mean",
            ),
            ("fc.weight", "fc.weight", "fc.weight"),
            (
                "layer1.0.se.excite_high.bias",
                "layer1.0.se.excite_high.bias",
                "layer1.0.se.excite.bias",
            ),
        ] {
            assert_eq!(Layout::Octave.name(path), octave);
            assert_eq!(Layout::Vanilla.name(path), vanilla);
            assert_eq!(Layout::Burn.name(path), path);
        }
        let low = "layer1.0.bn2.low.gamma";
        assert_eq!(Layout::Octave.name(low), "layer1.0.conv2.bn_l.weight");
    }

    #[test]
    fn numbered_names_get_those_of_the_family() {
        for (numbered, named) in [
            ("features.0.0.weight", "conv1.weight"),
            ("features.0.1.running_var", "bn1.running_var"),
            (
                "features.1.0.conv.conv_h2h.weight",
                "layer1.0.conv1.conv.conv_h2h.weight",
            ),
            ("features.3.1.bn_l.bias", "layer1.2.conv2.bn_l.bias"),
            ("features.6.0.bn_h.weight", "layer3.0.conv1.bn_h.weight"),
            ("features.13.1.bn_h.weight", "layer4.1.conv2.bn_h.weight"),
            ("features.14.1.bn_h.weight", "features.14.1.bn_h.weight"),
            ("features.3.2.bn_h.weight", "features.3.2.bn_h.weight"),
            ("features.2.1.weight", "features.2.1.weight"),
            ("fc.weight", "fc.weight"),
        ] {
            assert_eq!(Layout::family_name(numbered), named);
        }
    }

    #[test]
    fn matrices_are_transposed() {
        let data = TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]);
        let expected = TensorData::new(vec![1.0f32, 4.0, 2.0, 5.0, 3.0, 6.0], [3, 2]);
        transpose(data).assert_eq(&expected, true);
    }
}
