//! One group of a feature map, in the forms in which layers read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, Device, Tensor, TensorData};
use octave_engine::{Isa, from_nchw, pool::average_pool2, to_nchw};

use super::memory::Lent;
use crate::ops::flex::tensor::{contiguous, flex_tensor};

/// The groups of a feature map by level.
pub(super) type Maps = Arc<[Option<Map>; 2]>;

/// What is read of a group: by how often it is pooled, the border that it must have. Where nothing is
/// read of the group as it is, it need not be kept.
pub(super) type Needs = [Option<usize>; 3];

/// A group of a feature map. Its average-pooled forms, and those with a wider border, are made when
/// a layer asks for them, and stay for the next.
pub(super) struct Map {
    dims: [usize; 4],
    forms: Mutex<Vec<Form>>,
}

struct Form {
    halvings: usize,
    map: Arc<Lent>,
}

impl Map {
    /// A computed map of shape `dims`, and its 2×2 averages, as far as they are kept.
    pub(super) fn new(dims: [usize; 4], forms: [Option<Lent>; 2]) -> Self {
        let forms = forms.into_iter().enumerate();
        let forms = forms.filter_map(|(halvings, map)| {
            let map = Arc::new(map?);
            Some(Form { halvings, map })
        });
        Self {
            dims,
            forms: Mutex::new(forms.collect()),
        }
    }

    /// Brings a tensor on Flex into the engine's layout, with a border of `pad`.
    pub(super) fn from_tensor(x: Tensor<4>, pad: usize) -> Self {
        let mut map = Lent::new(x.dims(), pad);
        let x = contiguous(flex_tensor(x).expect("a tensor on Flex, outside of autodiff"));
        let values = x.as_slice().expect("f32, without gaps");
        from_nchw(Isa::best(), values, &mut map);
        Self::new(map.dims(), [Some(map), None])
    }

    /// The 2×2 averages of a map, with a border of `pad`, as a map of their own.
    pub(super) fn half_of(map: &Self, pad: usize) -> Self {
        let half = map.get(1, pad);
        let dims = half.dims();
        let mut forms = vec![Form {
            halvings: 0,
            map: half,
        }];
        let quarter = map.find(2, 0).map(|map| Form { halvings: 1, map });
        forms.extend(quarter);
        Self {
            dims,
            forms: Mutex::new(forms),
        }
    }

    /// `[n, c, h, w]`.
    pub(super) fn dims(&self) -> [usize; 4] {
        self.dims
    }

    /// The map, pooled so often, with a border of at least `pad`.
    pub(super) fn get(&self, halvings: usize, pad: usize) -> Arc<Lent> {
        if let Some(map) = self.find(halvings, pad) {
            return map;
        }
        // Nothing is locked meanwhile: a worker that waits may run other tasks, which read this
        // map. At worst both make the same form.
        let made = Arc::new(match self.find(halvings, 0) {
            Some(narrow) => {
                let mut wide = Lent::new(narrow.dims(), pad);
                wide.copy_from(&narrow);
                wide
            }
            None => {
                let fine = self.get(halvings - 1, 0);
                let [n, c, h, w] = fine.dims();
                let mut half = Lent::new([n, c, h.div_ceil(2), w.div_ceil(2)], pad);
                average_pool2(Isa::best(), &fine, &mut half);
                half
            }
        });
        let map = made.clone();
        self.lock().push(Form { halvings, map });
        made
    }

    fn find(&self, halvings: usize, pad: usize) -> Option<Arc<Lent>> {
        let forms = self.lock();
        let mut forms = forms.iter();
        let form = forms.find(|form| form.halvings == halvings && form.map.pad() >= pad);
        form.map(|form| form.map.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Form>> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The map as a plain tensor.
    pub(super) fn to_tensor(&self, device: &Device) -> Tensor<4> {
        let mut values = vec![0.0; self.dims.iter().product()];
        to_nchw(Isa::best(), &self.get(0, 0), &mut values);
        Tensor::from_data(TensorData::new(values, self.dims), (device, DType::F32))
    }
}
