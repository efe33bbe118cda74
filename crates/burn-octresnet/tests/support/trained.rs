//! Narrow networks with norms that do something.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, Distribution, Tensor},
};
use burn_octresnet::model::{Arch, OctNet, OctNetConfig};

/// Gives γ, β and the statistics of every norm values that tell them apart, near enough to 1 that
/// the maps of 152 layers stay in range.
struct Train;

impl ModuleMapper for Train {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D > 1 {
            return param;
        }
        param.map(|x| x.random_like(Distribution::Uniform(0.4, 1.4)))
    }
}

/// A network for 7 classes that knows something; none if the configuration is refused.
pub fn trained(arch: Arch, configure: impl FnOnce(&mut OctNetConfig)) -> Option<OctNet> {
    let mut config = OctNetConfig::new(arch, 7);
    let next = arch.name().contains("resnext");
    config.width = if next { 0.5 } else { 0.1 };
    configure(&mut config);
    let device = Device::flex();
    device.seed(7);
    Some(config.try_init(&device).ok()?.map(&mut Train))
}

/// Random images of `[batch, height, width]`.
pub fn images([batch, height, width]: [usize; 3]) -> Tensor<4> {
    let shape = [batch, 3, height, width];
    Tensor::random(shape, Distribution::Uniform(-2.0, 2.0), &Device::flex())
}

struct Double;

impl ModuleMapper for Double {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| x.cast(DType::F64))
    }
}

/// The same network in f64, where 152 layers do not hide a mistake behind rounding.
pub fn double(model: OctNet) -> OctNet {
    model.map(&mut Double)
}
