use std::process::ExitCode;

use burn_image_train::Devices;
use clap::Args;

/// Lends this machine's devices to `octresnet` on another machine.
///
/// The other machine reads the images, sends operations and keeps the run; this one computes. Both
/// must be built from the same release, with the feature remote.
#[derive(Debug, Args)]
#[command(after_help = "\
Where the GPU is, here called gpu, and where the images are:

  octresnet serve --device cuda:0 --host 0.0.0.0
  octresnet train --device remote:ws://gpu:3000

A second device is remote:ws://gpu:3000#1. Prints {\"url\",\"devices\"} once it listens, and serves until
Ctrl-C or SIGTERM.

Whoever knows the token in the environment variable OCTRESNET_TOKEN, set on both sides, may compute
here; without one, whoever reaches the port. Nothing is encrypted: use a network you trust, or a
tunnel.")]
pub(crate) struct ServeArgs {
    /// Devices of this build to lend; several must be of one backend
    #[arg(long, value_name = "DEVICE[,..]", default_value_t)]
    device: Devices,
    /// Address to listen on; 0.0.0.0 is every network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    port: u16,
}

#[cfg(not(feature = "remote"))]
pub(super) fn run(arguments: ServeArgs) -> anyhow::Result<ExitCode> {
    let ServeArgs { device, host, port } = arguments;
    anyhow::bail!(
        "this build cannot lend {device} at {host}:{port}: build with `cargo build --release --features remote`"
    )
}

#[cfg(feature = "remote")]
pub(super) fn run(arguments: ServeArgs) -> anyhow::Result<ExitCode> {
    use std::{env, net::TcpListener};

    use anyhow::Context;
    use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
    use burn_image_train::TOKEN;

    let names = arguments.device.resolved()?;
    can_be_lent(&names)?;
    let mut server = RemoteServer::new(names.open()?);
    let token = env::var(TOKEN).ok();
    if let Some(token) = &token {
        let token = TokenAuthorizer::new(token.as_str());
        let token = token.with_context(|| format!("${TOKEN} is empty: unset it or fill it"))?;
        server = server.with_authorizer(token);
    }
    let (host, port) = (arguments.host.as_str(), arguments.port);
    let listener = TcpListener::bind((host, port)).with_context(|| {
        format!("cannot listen on {host}:{port}: choose another --port or --host")
    })?;
    let local = listener.local_addr()?;
    if token.is_none() && !local.ip().is_loopback() {
        log::warn!("whoever reaches {local} may compute here: set {TOKEN} on both sides");
    }
    crate::output::print_json(&serde_json::json!({
        "url": format!("ws://{local}"),
        "devices": names.names(),
    }))?;
    end_in_time()?;
    server.serve(WebSocketTransport::from_listener(listener))?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the program some seconds after the signal to stop. Burn's server ends by itself and in no
/// time, but waits for whoever has begun a request, who may never finish it.
#[cfg(feature = "remote")]
fn end_in_time() -> anyhow::Result<()> {
    use std::{process, thread, time::Duration};

    const GRACE: Duration = Duration::from_secs(5);
    ctrlc::set_handler(|| {
        thread::sleep(GRACE);
        log::warn!("stopped while clients were connecting");
        process::exit(0);
    })?;
    Ok(())
}

/// Checks what Burn's server would refuse only after it has said that it is there.
#[cfg(feature = "remote")]
fn can_be_lent(devices: &Devices) -> anyhow::Result<()> {
    use burn_image_train::{Backend, DeviceName};

    let mut kinds = Vec::new();
    for name in devices.names() {
        kinds.push(match name {
            DeviceName::On { backend, .. } => match backend {
                Backend::Flex => "flex",
                Backend::NdArray => "ndarray",
                Backend::Tch => {
                    anyhow::bail!("Burn cannot lend LibTorch's devices: leave out {name}")
                }
                _ => "CubeCL",
            },
            name => anyhow::bail!("{name} is not of this machine: lend it there"),
        });
    }
    kinds.dedup();
    match kinds[..] {
        [_] => Ok(()),
        _ => anyhow::bail!("{devices} are of several backends: start a server for each"),
    }
}
