//! Timing several things in turns.

use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::Serialize;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Rounds before those that count.
    pub(super) warmup: usize,
    pub(super) until: Until,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// This many rounds.
    Rounds(usize),
    /// This many seconds, and three rounds at least.
    Seconds(f64),
}

/// Something to time, in `N` parts that follow each other.
pub(super) type Contender<'a, const N: usize> =
    Box<dyn FnMut() -> anyhow::Result<[Duration; N]> + 'a>;

/// Runs all contenders in turns, round by round, and returns the times of every part of each.
pub(super) fn interleave<const N: usize>(
    contenders: &mut [Contender<'_, N>],
    timing: Timing,
) -> anyhow::Result<Vec<[Times; N]>> {
    let mut times = vec![[const { Times(Vec::new()) }; N]; contenders.len()];
    for _ in 0..timing.warmup {
        for run in contenders.iter_mut() {
            run()?;
        }
    }
    let start = Instant::now();
    for round in 0.. {
        let done = match timing.until {
            Until::Rounds(rounds) => round >= rounds,
            Until::Seconds(limit) => round >= 3 && start.elapsed().as_secs_f64() >= limit,
        };
        if done {
            break;
        }
        for (run, times) in contenders.iter_mut().zip(&mut times) {
            for (part, time) in times.iter_mut().zip(run()?) {
                part.push(time);
            }
        }
    }
    Ok(times)
}

/// Runs `work` and waits for the device; its result lives until the time is taken.
pub(super) fn timed<T>(device: &Device, work: impl FnOnce() -> T) -> anyhow::Result<(T, Duration)> {
    let start = Instant::now();
    let result = work();
    device.sync()?;
    Ok((result, start.elapsed()))
}

/// The times of the rounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(super) fn rounds(&self) -> usize {
        self.0.len()
    }

    /// Their summary; there is at least one.
    pub(super) fn summary(&self) -> Summary {
        let mut ms: Vec<_> = self.0.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let middle = ms.len() / 2;
        let median = match ms.len() % 2 {
            0 => (ms[middle - 1] + ms[middle]) / 2.0,
            _ => ms[middle],
        };
        Summary {
            median_ms: median,
            min_ms: ms[0],
            max_ms: ms[ms.len() - 1],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn contenders_take_turns_and_the_warm_up_does_not_count() {
        let order = RefCell::new(Vec::new());
        let contender = |name: char| -> Contender<'_, 1> {
            let order = &order;
            let mut calls = 0;
            Box::new(move || {
                order.borrow_mut().push(name);
                calls += 1;
                Ok([Duration::from_millis(calls)])
            })
        };
        let timing = Timing {
            warmup: 1,
            until: Until::Rounds(2),
        };
        let mut contenders = [contender('a'), contender('b')];
        let times = interleave(&mut contenders, timing).unwrap();
        assert_eq!(order.borrow().iter().collect::<String>(), "ababab");
        for [times] in times {
            assert_eq!(times.0, [2, 3].map(Duration::from_millis));
        }
    }

    #[test]
    fn a_limit_of_time_leaves_three_rounds() {
        let timing = Timing {
            warmup: 0,
            until: Until::Seconds(1e-9),
        };
        let mut contender: [Contender<'_, 1>; 1] = [Box::new(|| Ok([Duration::ZERO]))];
        assert_eq!(
            interleave(&mut contender, timing).unwrap()[0][0].rounds(),
            3
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let summary = |ms: &[u64]| {
            let times = ms.iter().map(|&ms| Duration::from_millis(ms)).collect();
            let Summary {
                median_ms,
                min_ms,
                max_ms,
            } = Times(times).summary();
            [median_ms, min_ms, max_ms]
        };
        assert_eq!(summary(&[4, 1, 3, 2]), [2.5, 1.0, 4.0]);
        assert_eq!(summary(&[30, 10, 20]), [20.0, 10.0, 30.0]);
    }
}
