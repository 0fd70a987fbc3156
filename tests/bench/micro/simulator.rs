//! The simulated chip: what it takes must be less than the wire would, or real time cannot be kept.

use divan::Bencher;
use divan::counter::BytesCount;
use norfuse::spi::sim::model::{Configuration, Model};
use norfuse::spi::sim::storage::Storage;
use norfuse::spi::sim::timing::Times;
use norfuse::spi::sim::{Pace, Simulated};
use norfuse::spi::{Bus, Transaction};

use super::bytes::noise;

/// A chip that is never busy, so that every operation can follow at once.
fn chip() -> Simulated {
    let configuration = Configuration { times: Times::INSTANT, ..Configuration::default() };
    let storage = Storage::memory(noise(1));
    Simulated::from_model(Model::new(storage, configuration), Pace::Virtual)
}

fn run(chip: &mut Simulated, transactions: &mut [Transaction<'_>]) {
    chip.transfer(transactions).expect("no faults are set");
}

#[divan::bench]
fn status_read(bencher: Bencher<'_, '_>) {
    let mut chip = chip();
    bencher.bench_local(|| {
        let mut status = [0];
        run(&mut chip, &mut [Transaction::read(&[0x05], &mut status)]);
        status
    });
}

#[divan::bench(args = [4096, 65536])]
fn read(bencher: Bencher<'_, '_>, len: usize) {
    let mut chip = chip();
    let mut data = vec![0; len];
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        run(&mut chip, &mut [Transaction::read(&[0x0b, 0, 0, 0, 0], &mut data)]);
    });
}

#[divan::bench]
fn page_program(bencher: Bencher<'_, '_>) {
    let mut chip = chip();
    let data = [0x5a; 256];
    bencher.counter(BytesCount::new(256u32)).bench_local(|| {
        let program = Transaction::write(&[0x02, 0, 0x10, 0], &data);
        run(&mut chip, &mut [Transaction::command(&[0x06]), program]);
    });
}

#[divan::bench]
fn block_erase(bencher: Bencher<'_, '_>) {
    let mut chip = chip();
    bencher.counter(BytesCount::new(65536u32)).bench_local(|| {
        let erase = Transaction::command(&[0xd8, 0, 0, 0]);
        run(&mut chip, &mut [Transaction::command(&[0x06]), erase]);
    });
}
