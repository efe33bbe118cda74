//! Times ResNet-50 and Oct-ResNet-50 (α = .5) at 224×224 from stem to logits.
//!
//! Usage: engine_resnet [threads] [batch] [repeats] [layers]

mod plan;

use burn_octconv::engine::Isa;
use plan::Net;

fn median(v: &mut [f64]) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

/// Milliseconds of the wall clock.
fn now() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default| {
        args.get(i)
            .map_or(default, |s: &String| s.parse().expect("a number"))
    };
    let (threads, batch, repeats) = (number(0, 2), number(1, 1), number(2, 30));
    let layers = args.get(3).is_some();
    let input: Vec<f32> = (0..batch * 3 * 224 * 224)
        .map(|i| (i % 255) as f32 / 128.0 - 1.0)
        .collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let mut nets = [0.0, 0.5].map(|a| Net::resnet50(Isa::best(), batch, a));
        let mut times = [vec![], vec![]];
        for r in 0..repeats + 2 {
            for (net, t) in nets.iter_mut().zip(&mut times) {
                let start = now();
                net.run(&input);
                if r >= 2 {
                    t.push(now() - start);
                }
            }
        }
        for (net, (t, a)) in nets.iter().zip(times.iter_mut().zip([0.0, 0.5])) {
            let macs: usize = (0..net.ops.len()).map(|i| net.macs(i)).sum();
            let m = median(t);
            println!(
                "alpha {a}: median {m:.2} ms, min {:.2}, {:.3} GMAC, {:.1} GFLOP/s; logits {:?}",
                t[0],
                macs as f64 / 1e9,
                2e-6 * macs as f64 / m,
                &net.logits[..2]
            );
        }
        println!(
            "ratio of medians {:.3}, of minima {:.3}",
            median(&mut times[0]) / median(&mut times[1]),
            times[0][0] / times[1][0]
        );
        if layers {
            for (net, a) in nets.iter_mut().zip([0.0, 0.5]) {
                println!("layers at alpha {a}");
                let mut t = vec![vec![]; net.ops.len()];
                for _ in 0..repeats {
                    for (op, t) in t.iter_mut().enumerate() {
                        let start = now();
                        net.step(op, &input);
                        t.push(now() - start);
                    }
                }
                for (op, t) in t.iter_mut().enumerate() {
                    let m = median(t);
                    println!(
                        "{:10} {m:7.3} ms  min {:7.3}  {:6.1} GFLOP/s",
                        net.ops[op].0,
                        t[0],
                        2e-6 * net.macs(op) as f64 / m
                    );
                }
            }
        }
    });
}
