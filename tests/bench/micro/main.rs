//! Micro-benchmarks, without mounts and in simulated time: what norfuse itself costs the processor. `cargo bench` runs them.

#[path = "../../common/bytes.rs"]
#[allow(dead_code, reason = "only the noise is of use here")]
mod bytes;
mod cache;
mod planner;
mod simulator;

fn main() {
    divan::main();
}
