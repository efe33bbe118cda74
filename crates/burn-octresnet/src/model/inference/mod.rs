#[cfg(feature = "flex")]
mod engine;

use burn::tensor::Tensor;
use burn_octconv::Refusal;
#[cfg(feature = "flex")]
use burn_octconv::infer::{Network, StepTime};

use super::OctResNet;

/// A network in its inference form. Built by [`OctResNet::into_inference`].
#[derive(Debug)]
pub struct InferenceModel {
    /// The network with its norms folded, for whatever the engine does not serve.
    network: OctResNet,
    #[cfg(feature = "flex")]
    engine: Result<Network, Refusal>,
}

impl InferenceModel {
    /// Computes the logits.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`, normalised as in training
    /// - output: `[batch, num_classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if let Some(logits) = self.engine.as_ref().ok().and_then(|e| e.forward(&images)) {
            return logits;
        }
        self.network.forward(images)
    }

    /// Computes the logits and measures every step of the CPU engine; `None` where it does not
    /// compute the network as a whole.
    #[cfg(feature = "flex")]
    pub fn forward_timed(&self, images: &Tensor<4>) -> Option<(Tensor<2>, Vec<StepTime>)> {
        self.engine.as_ref().ok()?.forward_timed(images)
    }

    /// Whether the CPU engine computes the network as a whole, rather than layer by layer.
    pub fn is_fused(&self) -> bool {
        #[cfg(feature = "flex")]
        return self.engine.is_ok();
        #[cfg(not(feature = "flex"))]
        false
    }

    /// Why the network runs layer by layer; `None` if the CPU engine computes it as a whole.
    pub fn refusal(&self) -> Option<&Refusal> {
        #[cfg(feature = "flex")]
        return self.engine.as_ref().err();
        #[cfg(not(feature = "flex"))]
        Some(&Refusal::Backend)
    }
}

impl OctResNet {
    /// The network in the form in which it answers fastest; logits stay the same within rounding.
    ///
    /// Norms are folded as by [`fold_batch_norm`](Self::fold_batch_norm), so statistics and
    /// weights are fixed: train before and not after. In f32 on Flex the whole network then runs
    /// on the CPU engine ([`burn_octconv::infer`]): weights packed once, maps in the engine's
    /// layout from the first layer to the classifier, sums and activations where a result is
    /// written, and no allocation per layer. That covers ResNets, ResNeXts, Wide ResNets and
    /// MobileNets; squeeze-and-excitation, DenseNets, shortcuts that pad (ResNet-20 and 56) and
    /// other backends and precisions run layer by layer.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octresnet::model::{Arch, OctResNetConfig};
    ///
    /// let device = Device::default();
    /// let mut config = OctResNetConfig::new(Arch::OctResNet26, 10);
    /// config.width = 0.25;
    /// let model = config.try_init(&device)?;
    /// let inference = model.clone().into_inference();
    ///
    /// let images = Tensor::<4>::ones([1, 3, 64, 48], &device);
    /// let (logits, expected) = (inference.forward(images.clone()), model.forward(images));
    /// assert!(logits.all_close(expected, Some(1e-3), Some(1e-3)));
    /// # Ok::<(), burn_octresnet::model::ModelError>(())
    /// ```
    pub fn into_inference(self) -> InferenceModel {
        let network = self.fold_batch_norm();
        InferenceModel {
            #[cfg(feature = "flex")]
            engine: engine::network(&network),
            network,
        }
    }
}
