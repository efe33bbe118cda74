/// An activation that a kernel applies where it writes its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// The least and the greatest value of the result.
    pub fn bounds(self) -> [f32; 2] {
        match self {
            Self::Identity => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_formulas() {
        let bounded = |activation: Activation, x: f32| {
            let [least, greatest] = activation.bounds();
            x.max(least).min(greatest)
        };
        let all = [Activation::Identity, Activation::Relu, Activation::Relu6];
        let of = |x| all.map(|activation| bounded(activation, x));
        assert_eq!(of(-1e30), [-1e30, 0.0, 0.0]);
        assert_eq!(of(2.5), [2.5; 3]);
        assert_eq!(of(1e30), [1e30, 1e30, 6.0]);
    }
}
