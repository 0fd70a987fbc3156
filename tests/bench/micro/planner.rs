//! The plan of one 64 KiB region.

use std::time::Duration;

use divan::Bencher;
use divan::counter::BytesCount;
use norfuse::image::plan::{Costs, EraseCost, Region, Sector, plan};

use super::bytes::noise;

const REGION_LEN: usize = 64 << 10;
const SECTOR_LEN: usize = 4096;

fn costs() -> Costs {
    let erase = |len, ms| EraseCost { len, time: Duration::from_millis(ms) };
    Costs {
        page_len: 256,
        page_program: Duration::from_micros(600),
        per_byte: Duration::from_nanos(244),
        erases: vec![erase(4096, 45), erase(32 << 10, 120), erase(64 << 10, 150)],
    }
}

fn region(seed: u64) -> Vec<u8> {
    noise(seed)[..REGION_LEN].to_vec()
}

fn bench(bencher: Bencher<'_, '_>, current: &[u8], wanted: &[u8]) {
    let sectors: Vec<Option<Sector<'_>>> = current
        .chunks(SECTOR_LEN)
        .zip(wanted.chunks(SECTOR_LEN))
        .map(|(current, wanted)| Some(Sector { current, wanted }))
        .collect();
    let costs = costs();
    let region = Region { address: 0, sector_len: 4096, sectors: &sectors };
    bencher.counter(BytesCount::new(REGION_LEN)).bench(|| plan(divan::black_box(&region), &costs).unwrap());
}

#[divan::bench]
fn nothing_to_do(bencher: Bencher<'_, '_>) {
    let current = region(1);
    bench(bencher, &current, &current);
}

#[divan::bench]
fn one_bit_cleared(bencher: Bencher<'_, '_>) {
    let current = region(1);
    let mut wanted = current.clone();
    wanted[0x1234] &= wanted[0x1234].wrapping_sub(1);
    bench(bencher, &current, &wanted);
}

#[divan::bench]
fn wholly_different(bencher: Bencher<'_, '_>) {
    bench(bencher, &region(1), &region(2));
}
