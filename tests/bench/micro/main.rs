//! Micro-benchmarks, without mounts and in simulated time: what norfuse itself costs the processor. `cargo bench` runs them.

mod cache;
mod planner;
mod simulator;

fn main() {
    divan::main();
}

/// Bytes that repeat nowhere and are the same every time (xorshift64*).
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    });
    words.flatten().take(len).collect()
}
