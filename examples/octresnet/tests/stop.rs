//! Ctrl-C.
#![cfg(unix)]

mod common;

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::*;

fn start(place: &Workplace, line: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_octresnet"))
        .args(line.split_whitespace())
        .current_dir(place.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([name, &id])
            .status()
            .unwrap()
            .success()
    );
}

#[track_caller]
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < Duration::from_secs(120), "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_stops_a_run_that_can_be_resumed() {
    for name in ["-INT", "-TERM"] {
        let place = Workplace::new();
        let line = format!("train {TINY} --epochs 100000 --data images --output run");
        let child = start(&place, &line);
        wait_for("epoch", || place.path("run/last.bpk").exists());
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(output.stdout.is_empty());
        assert!(stderr.contains("train --resume --output run"), "{stderr}");
        let done = metrics(&place.path("run")).len();
        assert!(
            stderr.contains(&format!("stopped after {done} of 100000")),
            "{stderr}"
        );
        let hidden = names(&place.path("run"))
            .iter()
            .any(|name| name.starts_with('.'));
        assert!(!hidden, "{:?}", names(&place.path("run")));

        let line = format!("train --resume --output run --epochs {}", done + 1);
        let output = run(&mut place.octresnet(&line)).good();
        assert!(
            output
                .stderr
                .contains(&format!("going on with epoch {}", done + 1)),
            "{output:?}"
        );
        assert_eq!(metrics(&place.path("run")).len(), done + 1);
    }
}

#[test]
fn a_run_stopped_in_its_first_epoch_starts_over() {
    let place = Workplace::new();
    // Large enough for the first epoch to take a while.
    let flags = "--size 64 --width 0.5 --batch-size 1 --epochs 1 --workers 0 --device flex";
    let child = start(&place, &format!("train {flags} --data images --output run"));
    wait_for("config", || place.path("run/config.json").exists());
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    // Before the program listens, the signal ends it as it does any other.
    if output.status.code() == Some(0) && stderr.contains("stopped after 0 of 1") {
        assert!(!place.path("run/metrics.csv").exists());
    }
    let output = run(&mut place.octresnet("train --resume --output run")).good();
    assert_eq!(metrics(&place.path("run")).len(), 1, "{output:?}");
}
