//! Reads of a chip that has been read before: no bus, one copy.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use divan::Bencher;
use divan::counter::BytesCount;
use norfuse::chip::{Chip, Speed};
use norfuse::image::{Error, Image, Options};
use norfuse::spi::sim::{Pace, Simulated};

/// From one sector to the most that the kernel asks for at once.
const LENGTHS: [u32; 3] = [4096, 64 << 10, 1 << 20];

fn image() -> Image {
    let chip = Chip::identify(Box::new(Simulated::demonstration(Pace::Virtual)), Speed::Fixed(32_000_000))
        .expect("the simulated chip is known");
    let options = Options { read_repeat: 1, scrub: false, journal: None, unlock: None, replay_always: false };
    Image::start(chip, options).expect("nothing is left to be done")
}

/// Reads into `out`, which is as long as `range`, and waits for it.
fn read(image: &Image, range: Range<u32>, out: &mut Vec<u8>) {
    let mut taken = std::mem::take(out);
    let (sender, receiver) = sync_channel(1);
    let done = move |result: Result<&[u8], Error>| {
        taken.copy_from_slice(result.expect("the simulated chip answers"));
        sender.send(taken).expect("somebody waits");
    };
    image.read(range, Box::new(done));
    *out = receiver.recv().expect("every read is answered");
}

#[divan::bench(args = LENGTHS)]
fn read_again(bencher: Bencher<'_, '_>, len: u32) {
    let image = image();
    let mut out = vec![0; len as usize];
    read(&image, 0..len, &mut out);
    bencher.counter(BytesCount::new(len)).bench_local(|| read(&image, 0..len, &mut out));
}

#[divan::bench(sample_count = 10)]
fn read_all_cold(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(image).counter(BytesCount::new(16u32 << 20)).bench_local_values(|image| {
        let mut out = vec![0; 1 << 20];
        for start in (0..image.size()).step_by(1 << 20) {
            read(&image, start..start + (1 << 20), &mut out);
        }
        image
    });
}
