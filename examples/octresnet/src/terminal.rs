//! Burn's terminal interface, and stopping by Ctrl-C with and without it.

use std::{
    io::{self, IsTerminal},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use burn::train::{
    Interrupter,
    renderer::{MetricsRenderer, tui::TuiMetricsRendererWrapper},
};

/// Exit code of a program that a signal ended, by convention of shells.
const KILLED: i32 = 130;

/// Whether there is a terminal to draw on.
pub(crate) fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && io::stderr().is_terminal() && !dumb
}

/// Makes the first Ctrl-C (or SIGTERM) stop a run after its step, and the second the program.
pub(crate) fn stop_on_signal(interrupter: &Interrupter, drawn: bool) -> anyhow::Result<()> {
    let interrupter = interrupter.clone();
    let stopping = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if stopping.swap(true, Ordering::Relaxed) {
            if drawn {
                leave();
            }
            process::exit(KILLED);
        }
        interrupter.stop(Some("by signal"));
        if !drawn {
            eprintln!("stopping after this step; Ctrl-C again stops at once");
        }
    })
    .context("cannot listen to Ctrl-C")
}

/// Burn's terminal interface while it is on.
pub(crate) struct Tui {
    done: Arc<AtomicBool>,
}

impl Tui {
    /// Takes over the terminal; `epoch` is that of the checkpoint a run goes on from.
    pub(crate) fn start(
        interrupter: &Interrupter,
        epoch: Option<usize>,
    ) -> (Self, Box<dyn MetricsRenderer>) {
        let done = Arc::new(AtomicBool::new(false));
        // The interface resets its interrupter at the end, and with it would go the reason why
        // the run ended. So it gets one of its own, and what it says is passed on.
        let own = Interrupter::new();
        let renderer = Box::new(TuiMetricsRendererWrapper::new(own.clone(), epoch));
        let (interrupter, finished) = (interrupter.clone(), done.clone());
        thread::spawn(move || {
            while !finished.load(Ordering::Relaxed) {
                if own.should_stop() {
                    interrupter.stop(Some("by the user"));
                }
                keep_signals();
                thread::sleep(Duration::from_millis(100));
            }
        });
        (Self { done }, renderer)
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Lets Ctrl-C be a signal again: in raw mode, in which the interface reads the keyboard, it is a
/// key like any other, and one that the interface does not know.
#[cfg(unix)]
fn keep_signals() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let input = io::stdin();
    if let Ok(mut modes) = tcgetattr(&input)
        && !modes.local_modes.contains(LocalModes::ISIG)
    {
        modes.local_modes |= LocalModes::ISIG;
        // Without it, the interface's own key still stops the run.
        let _ = tcsetattr(&input, OptionalActions::Now, &modes);
    }
}

#[cfg(not(unix))]
fn keep_signals() {}

/// Gives the terminal back in a hurry: mouse, alternate screen, cursor, raw mode.
fn leave() {
    eprint!("\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h");
    #[cfg(unix)]
    {
        use rustix::termios::{
            InputModes, LocalModes, OptionalActions, OutputModes, tcgetattr, tcsetattr,
        };

        let input = io::stdin();
        if let Ok(mut modes) = tcgetattr(&input) {
            modes.local_modes |=
                LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
            modes.input_modes |= InputModes::ICRNL | InputModes::IXON;
            modes.output_modes |= OutputModes::OPOST;
            let _ = tcsetattr(&input, OptionalActions::Now, &modes);
        }
    }
}
