//! Devices that other processes lend, over a loopback connection.

mod common;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::*;

/// A process that lends the processor, on a port that the system chose.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(token: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octresnet"));
        command
            .args(["serve", "--device", "flex,flex", "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(token) = token {
            command.env("OCTRESNET_TOKEN", token);
        }
        let mut process = command.spawn().unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["devices"], serde_json::json!(["flex", "flex"]));
        let url = said["url"].as_str().unwrap().to_string();
        Self { process, url }
    }

    /// The name of its first device.
    fn device(&self) -> String {
        format!("remote:{}", self.url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn assert_near(one: &[Vec<f64>], other: &[Vec<f64>], tolerance: f64) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.concat().into_iter().zip(other.concat()) {
        assert!((one - other).abs() <= tolerance, "{one} {other}");
    }
}

#[test]
fn two_servers_train_as_one_and_what_they_trained_is_used_on_one() {
    let place = Workplace::new();
    let [one, two] = [None, None].map(Server::start);
    // Norms of very few images would turn differences of rounding into visible ones.
    let train = |output: &str, devices: &str| {
        let flags = format!("--batch-size 12 --strategy multi --device {devices}");
        place.train(output, &flags).good()
    };
    train("here", "flex,flex");
    let output = train("there", &format!("{},{}#1", one.device(), two.device()));
    let said = "2 devices: remote:ws://127";
    assert!(output.stderr.contains(said), "{output:?}");
    // The engine here and Burn's operations there round differently.
    let of = |run: &str| results(&place.path(run));
    assert_near(&of("here"), &of("there"), 1e-4);

    // One server alone does as the processor here does alone.
    train("alone", "flex");
    train("one", &one.device());
    assert_near(&of("alone"), &of("one"), 1e-4);

    let json = |line: &str, device: &str| {
        let line = format!("{line} --json --device {device}");
        run(&mut place.octresnet(&line)).json()
    };
    let [here, there] = ["flex", &one.device()].map(|device| json("evaluate there", device));
    let loss = |result: &serde_json::Value| result["loss"].as_f64().unwrap();
    assert!((loss(&here) - loss(&there)).abs() < 1e-4, "{here} {there}");
    assert_eq!(here["top1"], there["top1"]);
    let predict = |device: &str| json("predict there images/val/sky --top 1", device);
    let first = |result: &serde_json::Value| result[1]["predictions"][0]["class"].clone();
    let [here, there] = [predict("flex"), predict(&two.device())];
    assert!(first(&here).is_string(), "{here}");
    assert_eq!(first(&here), first(&there));
}

#[test]
fn a_server_that_cannot_be_used_is_named() {
    let place = Workplace::new();
    let server = Server::start(Some("secret"));
    let device = server.device();
    let train = |device: &str, token: Option<&str>| {
        let line = format!("train {TINY} --data images --output run --device {device}");
        let mut command = place.octresnet(&line);
        if let Some(token) = token {
            command.env("OCTRESNET_TOKEN", token);
        }
        run(&mut command)
    };
    for token in [None, Some("guess")] {
        let output = train(&device, token);
        output.error(1, &[&device, "OCTRESNET_TOKEN"]);
    }
    let output = train(&format!("{device}#2"), Some("secret"));
    output.error(1, &[&format!("{device}#2"), "hosts only 2"]);
    // A port that nobody listens on any more.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = train(&format!("flex,remote:ws://{free}"), None);
    output.error(
        1,
        &[
            &format!("remote:ws://{free}"),
            "cannot be reached",
            "octresnet serve",
        ],
    );
    assert!(!place.path("run").exists());
    train(&device, Some("secret")).good();

    let port = server.url.rsplit_once(':').unwrap().1;
    let output = run(&mut place.octresnet(&format!("serve --device flex --port {port}")));
    output.error(1, &[&format!("127.0.0.1:{port}"), "--port"]);
    let output = run(&mut place.octresnet(&format!("serve --device flex,{device}")));
    output.error(1, &[&device, "lend it there"]);
}

/// A run on two servers that has saved its first epoch, the servers, and the name of its folder.
///
/// A machine may be too busy for it. A second attempt tells that from a fault, and the output of the
/// first is shown.
fn training_on_two(place: &Workplace) -> (Child, [Server; 2], &'static str) {
    for output in ["run", "second-run"] {
        let servers = [None, None].map(Server::start);
        let [one, two] = servers.each_ref().map(Server::device);
        let flags = format!("--output {output} --epochs 100000 --device {one},{two}");
        let line = format!("train {TINY} --data images {flags}");
        let mut training = Command::new(env!("CARGO_BIN_EXE_octresnet"))
            .args(line.split_whitespace())
            .current_dir(place.path(""))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(200) && training.try_wait().unwrap().is_none() {
            if place.path(output).join("last.bpk").exists() {
                return (training, servers, output);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        training.kill().unwrap();
        eprintln!("no epoch: {:?}", training.wait_with_output().unwrap());
    }
    panic!("two runs on two servers ended before their first epoch did");
}

#[test]
fn a_server_that_dies_ends_the_run_and_leaves_the_checkpoints() {
    let place = Workplace::new();
    let (training, [first, mut second], name) = training_on_two(&place);
    second.process.kill().unwrap();
    let output = training.wait_with_output().unwrap();
    let output = Output {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    output.error(1, &["training stopped"]);
    // The run goes on with the server that is left.
    let done = metrics(&place.path(name)).len();
    let device = first.device();
    let line = format!(
        "train --resume --output {name} --epochs {} --device {device}",
        done + 1
    );
    run(&mut place.octresnet(&line)).good();
}

#[cfg(unix)]
#[test]
fn a_client_in_the_middle_of_its_request_does_not_hold_a_server_up() {
    use std::{io::Write, net::TcpStream};

    let mut server = Server::start(None);
    let address = server.url.strip_prefix("ws://").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client
        .write_all(b"GET /session HTTP/1.1\r\nX-Slow: ")
        .unwrap();
    // Accepted and read before the signal.
    std::thread::sleep(Duration::from_secs(1));
    let id = server.process.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(status.success(), "{status}");
}
