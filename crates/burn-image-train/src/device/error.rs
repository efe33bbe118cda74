use super::{Backend, DeviceName};

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that no device has.
    #[error("there is no device '{0}'; use auto, remote:ws://HOST:PORT or one of {known}, such as cuda:1 for the second GPU", known = known())]
    Unknown(String),
    /// A number for a device that has none.
    #[error("device '{0}' has no number: use {0}")]
    NotNumbered(Backend),
    /// A backend that was left out of this build.
    #[error(
        "device '{0}' is not in this build, which has {built}: build with `cargo build --release --features {0}`", built = built()
    )]
    NotCompiledIn(Backend),
    /// A device of another machine, in a build that cannot reach one.
    #[error(
        "device '{0}' is on another machine, which this build cannot reach: build with `cargo build --release --features remote`"
    )]
    NoRemote(DeviceName),
    /// A device without all-reduce.
    #[error(
        "device '{0}' has no all-reduce, which Burn has for several CUDA devices of this machine only: use --strategy multi"
    )]
    NoCollectives(DeviceName),
    /// All-reduce of a device with itself.
    #[error("device '{0}' is named twice: name each once, or use --strategy multi")]
    Twice(DeviceName),
    /// No backend at all in this build.
    #[error(
        "this build has no device at all: build with `cargo build --release --features flex`, or another of {}",
        known()
    )]
    NoneCompiledIn,
    /// A device that is not there or does not work.
    #[error("device '{name}' cannot be used: {reason}; choose another with --device ({built})", built = built())]
    Unusable {
        /// The device's name.
        name: DeviceName,
        /// The backend's reason.
        reason: String,
    },
}

fn known() -> String {
    Backend::ALL.map(Backend::name).join(", ")
}

fn built() -> String {
    let names: Vec<_> = Backend::compiled_in().map(Backend::name).collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}
