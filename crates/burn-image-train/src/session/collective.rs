use burn::tensor::Tensor;

/// The sum of one tensor per device, for each device.
///
/// # Panics
///
/// On a backend without collectives, to which a recipe's check lets nobody come.
#[cfg(not(test))]
pub(super) fn all_reduce<const D: usize>(parts: Vec<Tensor<D>>) -> Vec<Tensor<D>> {
    use burn::tensor::distributed::{CollectiveTensor, ReduceOperation, all_reduce};

    let devices: Vec<_> = parts.iter().map(Tensor::device).collect();
    // Queued on every device before the first is waited for.
    let parts = parts.into_iter();
    let sums = parts.map(|part| all_reduce(part, ReduceOperation::Sum, devices.clone()));
    let sums: Vec<_> = sums.collect();
    sums.into_iter().map(CollectiveTensor::resolve).collect()
}

/// The same for the processor, which has no collectives, so that the rest can be tested.
#[cfg(test)]
pub(super) fn all_reduce<const D: usize>(parts: Vec<Tensor<D>>) -> Vec<Tensor<D>> {
    let sum = parts.iter().cloned().reduce(|sum, part| sum + part);
    let sums = parts.iter().filter_map(|_| sum.clone());
    sums.collect()
}
