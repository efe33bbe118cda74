//! Devices of other machines.

use std::env;

use burn::tensor::{
    Device, DeviceIndex,
    remote::{ConnectError, RemoteHost},
};

/// Name of the environment variable with the token that a server asks for.
pub const TOKEN: &str = "OCTRESNET_TOKEN";

/// Device `index` of the server at `url`.
pub(super) fn connect(url: &str, index: usize) -> Result<Device, String> {
    let host = RemoteHost::websocket(url);
    let host = match env::var(TOKEN) {
        Ok(token) => host.with_credential(token),
        Err(_) => host,
    };
    let options = Device::remote_options(&host).device_index(DeviceIndex::from(index));
    options.init().map_err(explain)
}

/// What went wrong, and what to do about it.
fn explain(error: ConnectError) -> String {
    match error {
        ConnectError::Unauthorized => {
            format!("the server does not accept the token in {TOKEN}, or that there is none")
        }
        ConnectError::IncompatibleProtocol { .. } | ConnectError::Handshake { .. } => {
            format!("{error}: build both sides from the same release")
        }
        ConnectError::Unreachable { .. } => {
            format!("{error}: start a server there with `octresnet serve`")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_from_no_server() {
        let error = explain(ConnectError::IncompatibleProtocol {
            client_version: 3,
            server_version: 4,
        });
        assert!(
            error.contains("version 4") && error.contains("same release"),
            "{error}"
        );
        let reason = "refused".into();
        let error = explain(ConnectError::Unreachable { reason });
        assert!(error.contains("octresnet serve"), "{error}");
    }
}
