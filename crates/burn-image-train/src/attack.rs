//! Images changed so that a network errs, by as little as cannot be seen.

use burn::tensor::{Distribution, Int, Tensor};

use crate::{batch::cross_entropy, error::TrainError};

/// An attack by the gradient of the images, within a distance of them in every value (L∞).
///
/// Steps along the sign of the gradient of the cross entropy, and back into what is allowed after each:
/// at most `epsilon` from the image, and pixels from 0 to 1. One step of `epsilon` from the image itself is
/// the fast gradient sign method (Goodfellow et al., <https://arxiv.org/abs/1412.6572>); several from a
/// random place near it are projected gradient descent (Madry et al.,
/// <https://arxiv.org/abs/1706.06083>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attack {
    /// The largest change of a value, where pixels go from 0 to 1.
    pub epsilon: f64,
    /// The change of a value in one step.
    pub step: f64,
    /// How many steps.
    pub steps: usize,
    /// Whether it starts from a random place within `epsilon` rather than from the image.
    pub random_start: bool,
}

impl Attack {
    /// The fast gradient sign method.
    pub fn fgsm(epsilon: f64) -> Self {
        Self {
            epsilon,
            step: epsilon,
            steps: 1,
            random_start: false,
        }
    }

    /// Projected gradient descent, with steps of 2.5 `epsilon` / `steps`, as its authors take.
    pub fn pgd(epsilon: f64, steps: usize) -> Self {
        Self {
            epsilon,
            step: 2.5 * epsilon / steps.max(1) as f64,
            steps,
            random_start: true,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] for the first that is out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let share = "above 0 and at most 1, where pixels go from 0 to 1";
        let good = |value: f64| value > 0.0 && value <= 1.0;
        TrainError::check(good(self.epsilon), "epsilon", self.epsilon, share)?;
        TrainError::check(good(self.step), "step_size", self.step, share)?;
        let most = (1..=10_000).contains(&self.steps);
        TrainError::check(most, "steps", self.steps, "1 to 10,000")
    }

    /// Changes images against a network.
    ///
    /// `logits` gives the network's answer to images with gradients. What is random comes from the
    /// device's generator.
    ///
    /// # Shapes
    ///
    /// - images, and output: `[batch, 3, height, width]`, from 0 to 1
    /// - targets: `[batch]`
    ///
    /// # Errors
    ///
    /// [`TrainError::Stopped`] where the answer has no gradient.
    pub fn perturb(
        &self,
        images: Tensor<4>,
        targets: Tensor<1, Int>,
        logits: impl Fn(Tensor<4>) -> Tensor<2>,
    ) -> Result<Tensor<4>, TrainError> {
        let images = images.without_autodiff();
        let targets = targets.autodiff();
        let (least, most) = (
            images.clone().sub_scalar(self.epsilon).clamp_min(0.0),
            images.clone().add_scalar(self.epsilon).clamp_max(1.0),
        );
        let allowed = |images: Tensor<4>| images.max_pair(least.clone()).min_pair(most.clone());
        let mut changed = images.clone();
        if self.random_start {
            let near = Distribution::Uniform(-self.epsilon, self.epsilon);
            changed = allowed(images.clone() + images.random_like(near));
        }
        for _ in 0..self.steps {
            let leaf = changed.clone().autodiff().require_grad();
            // The sum: each image has the gradient of its own loss.
            let loss = cross_entropy(logits(leaf.clone()), targets.clone(), 0.0).sum();
            let gradient = leaf
                .grad(&loss.backward())
                .ok_or_else(|| TrainError::stopped("the network has no gradient for its images"))?;
            let step = gradient.without_autodiff().sign().mul_scalar(self.step);
            changed = allowed(changed + step);
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::tensors::host;

    const EPSILON: f64 = 0.05;

    /// A network with a bend, of fixed weights: means of the channels, weighted by place.
    fn logits(images: Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = images.dims();
        let inputs = channels * height * width;
        let device = images.device();
        let wave = |count: usize, by: f32| {
            let values: Vec<f32> = (0..count).map(|at| (at as f32 * by).sin()).collect();
            Tensor::<1>::from_floats(values.as_slice(), &device)
        };
        let hidden = images
            .reshape([batch, inputs])
            .matmul(wave(inputs * 5, 0.7).reshape([inputs, 5]));
        hidden.tanh().matmul(wave(15, 1.3).reshape([5, 3]))
    }

    fn images() -> (Tensor<4>, Tensor<1, Int>) {
        let device = Device::flex();
        let values: Vec<f32> = (0..4 * 3 * 6 * 5)
            .map(|at| (at * 7 % 11) as f32 / 10.0)
            .collect();
        let images = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([4, 3, 6, 5]);
        (images, Tensor::from_ints([0, 1, 2, 1], &device))
    }

    fn losses(images: Tensor<4>, targets: Tensor<1, Int>) -> Vec<f32> {
        host(cross_entropy(logits(images), targets, 0.0)).unwrap()
    }

    #[test]
    fn an_attack_stays_near_the_image_and_does_not_lower_the_loss() {
        let (images, targets) = images();
        let clean = losses(images.clone(), targets.clone());
        for attack in [
            Attack::fgsm(0.002),
            Attack {
                random_start: false,
                ..Attack::pgd(0.002, 10)
            },
            Attack::pgd(EPSILON, 20),
        ] {
            let changed = attack
                .perturb(images.clone(), targets.clone(), logits)
                .unwrap();
            let (before, after) = (
                host(images.clone()).unwrap(),
                host(changed.clone()).unwrap(),
            );
            let far = before
                .iter()
                .zip(&after)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(f64::from(far) <= attack.epsilon + 1e-6, "{far}");
            assert!(f64::from(far) > 0.9 * attack.epsilon, "{far}");
            assert!(after.iter().all(|value| (0.0..=1.0).contains(value)));
            for (before, after) in clean.iter().zip(losses(changed, targets.clone())) {
                assert!(after > *before, "{attack:?}: {before} {after}");
            }
        }
    }

    #[test]
    fn one_step_from_the_image_is_the_fast_gradient_sign_method_by_its_definition() {
        let (images, targets) = images();
        let leaf = images.clone().autodiff().require_grad();
        let loss = cross_entropy(logits(leaf.clone()), targets.clone().autodiff(), 0.0).mean();
        let gradient = host(leaf.grad(&loss.backward()).unwrap()).unwrap();
        let expected: Vec<f32> = (host(images.clone()).unwrap().into_iter().zip(gradient))
            .map(|(value, gradient)| {
                let step = EPSILON as f32
                    * if gradient == 0.0 {
                        0.0
                    } else {
                        gradient.signum()
                    };
                (value + step).clamp(0.0, 1.0)
            })
            .collect();
        let one = Attack {
            random_start: false,
            step: EPSILON,
            ..Attack::pgd(EPSILON, 1)
        };
        for attack in [Attack::fgsm(EPSILON), one] {
            let changed = attack
                .perturb(images.clone(), targets.clone(), logits)
                .unwrap();
            for (got, expected) in host(changed).unwrap().into_iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-6, "{got} {expected}");
            }
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (attack, part) in [
            (Attack::fgsm(0.0), "`epsilon` is 0"),
            (Attack::pgd(0.1, 0), "`steps` is 0"),
            (
                Attack {
                    step: f64::NAN,
                    ..Attack::fgsm(0.1)
                },
                "`step_size` is NaN",
            ),
        ] {
            let error = attack.validate().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
