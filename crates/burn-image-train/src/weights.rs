//! Weights in files, so that equal weights make equal files.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    store::{ModuleRecord, RecordError},
    tensor::{Bytes, Tensor},
};
use burn_image_folder::open_file;
use burn_pack::{Tensor as PackedTensor, Writer};

use crate::{
    error::TrainError,
    paths::Place,
    text::{first_line, panic_message},
};

/// Names the parameters by their place. Burn draws names at random, and with them no two runs
/// would write the same file.
pub(crate) fn number<M: Module>(model: M) -> M {
    model.map(&mut Numbers(0))
}

struct Numbers(u64);

impl ModuleMapper for Numbers {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let (_, tensor, mapper) = param.consume();
        Param::from_mapped_value(ParamId::from(self.0), tensor, mapper)
    }
}

/// The content of a weights file for a network without gradients.
pub(crate) fn to_bytes<M: Module>(model: &M) -> Result<Bytes, TrainError> {
    let mut content = Content::default();
    model.visit(&mut content);
    let bytes = Writer::new(content.tensors).into_bytes();
    bytes.map_err(|error| unwritable(error.into()))
}

/// Collects what Burn's own record would hold, but for the names of the norms' statistics. Those
/// cannot be set in the network itself.
#[derive(Default)]
struct Content {
    path: Vec<String>,
    tensors: Vec<PackedTensor>,
}

impl ModuleVisitor for Content {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let number = self.tensors.len() as u64 + 1;
        let data = param.transform_for_save().val().into_data();
        let (bytes, shape, dtype) = data.into_parts();
        let path = self.path.join(".");
        self.tensors
            .push(PackedTensor::new(path, dtype, shape, Some(number), bytes));
    }
}

/// Weights that cannot be turned into bytes, since the device failed.
pub(crate) fn unwritable(error: RecordError) -> TrainError {
    TrainError::stopped(error)
}

/// Loads weights into a network, from a file that may be anything.
pub(crate) fn load_weights<M: Module>(model: M, path: &Path) -> Result<M, TrainError> {
    let error = |message: String| TrainError::Weights {
        path: path.to_path_buf(),
        message,
    };
    // Tensors are read from the file as they are needed, and a failure there is a panic.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        open_file(path).map_err(|error| format!("it cannot be opened ({error})"))?;
        let record = ModuleRecord::load(path).map_err(|error| {
            format!(
                "it is damaged or no burnpack file ({})",
                first_line(&error.to_string())
            )
        })?;
        // Files in half precision, too.
        let record = record.cast_to_module_dtype();
        model.try_load_record(record).map_err(|error| {
            format!(
                "they are of another network ({})",
                first_line(&error.to_string())
            )
        })
    }));
    match loaded {
        Ok(loaded) => loaded.map_err(error),
        Err(panic) => Err(error(format!(
            "it is damaged ({})",
            first_line(panic_message(&*panic))
        ))),
    }
}

/// Refuses weights that are NaN or infinite.
pub(crate) fn check_finite<M: Module>(model: &M, path: &Path) -> Result<(), TrainError> {
    let mut counts = NotFinite::default();
    model.visit(&mut counts);
    if counts.found.is_empty() {
        return Ok(());
    }
    Err(TrainError::FileNotFinite {
        path: path.to_path_buf(),
        tensors: counts.found,
    })
}

/// The paths of parameters that have values that are no finite numbers, and how many.
#[derive(Default)]
struct NotFinite {
    place: Place,
    found: Vec<(String, usize)>,
}

impl ModuleVisitor for NotFinite {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data();
        let count = data
            .iter::<f32>()
            .filter(|value| !value.is_finite())
            .count();
        if count > 0 {
            self.found.push((self.place.path(), count));
        }
    }
}
