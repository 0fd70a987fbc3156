//! What each job puts on the bus: messages, bytes, erases, programs, looks at the status. And, in the chip's own simulated time, how
//! long the bus takes beyond what wire and chip must: a figure that no other process can change.

mod figures;
mod model_chip;

use std::sync::mpsc::channel;
use std::time::Duration;

use model_chip::{ModelChip, SPEED_HZ, commit, read};
use norfuse::chip::Totals;
use norfuse::image::Image;
use norfuse::spi::sim::storage::CHIP_SIZE;
use norfuse::spi::sim::tally::Counters;
use norfuse::spi::sim::timing::{BLOCK_ERASE_64K, PAGE_PROGRAM, SECTOR_ERASE, wire_time};

/// What the kernel asks for at once.
const REQUEST_LEN: u32 = 128 << 10;

/// What one message reads at the most, in bytes.
const MESSAGE_LEN: u32 = 64 << 10;

/// What a message of a commit reads at the most, in bytes: readers are let in between.
const COMMIT_MESSAGE_LEN: u32 = 16 << 10;

/// What the simulated programmer takes beyond a message's bits.
const MESSAGE: Duration = Duration::from_micros(15);

/// A job's traffic and work.
struct Cost {
    totals: Totals,
    work: Counters,
    time: Duration,
}

impl Cost {
    fn of(chip: &ModelChip, image: &Image, job: impl FnOnce(&Image)) -> Self {
        let (totals, work, time) = now(chip, image);
        job(image);
        let (totals_after, work_after, time_after) = now(chip, image);
        let erases =
            totals_after.erases.clone().into_iter().map(|(len, count)| (len, count - totals.erases[&len]));
        Self {
            totals: Totals {
                messages: totals_after.messages - totals.messages,
                bytes_read: totals_after.bytes_read - totals.bytes_read,
                bytes_written: totals_after.bytes_written - totals.bytes_written,
                pages_programmed: totals_after.pages_programmed - totals.pages_programmed,
                erases: erases.collect(),
                ..totals_after
            },
            work: Counters {
                bytes_read: work_after.bytes_read - work.bytes_read,
                status_reads: work_after.status_reads - work.status_reads,
                ..Counters::default()
            },
            time: time_after - time,
        }
    }

    fn erases(&self) -> u64 {
        self.totals.erases.values().sum()
    }

    /// Messages that are not the pages' own.
    fn messages_beside_pages(&self) -> u64 {
        self.totals.messages - self.totals.pages_programmed
    }

    /// How many times as long as `bound` it took.
    fn ratio(&self, name: &str, bound: Duration) -> f64 {
        let ratio = self.time.div_duration_f64(bound);
        let Totals { messages, pages_programmed, .. } = self.totals;
        figures::show(format_args!(
            "{name}: {:?} of bus time, {ratio:.3} of the bound; {messages} messages, {pages_programmed} pages, {} erases, {} \
             status reads",
            self.time,
            self.erases(),
            self.work.status_reads
        ));
        ratio
    }
}

fn now(chip: &ModelChip, image: &Image) -> (Totals, Counters, Duration) {
    let totals = image.report().totals;
    let model = chip.model();
    (totals, model.counters(), model.time())
}

fn noise(seed: u64, len: u32) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// Reads the whole chip as a copying program does.
fn read_all(image: &Image) -> Vec<u8> {
    let requests = (0..image.size()).step_by(REQUEST_LEN as usize);
    requests.flat_map(|start| read(image, start..start + REQUEST_LEN).unwrap()).collect()
}

/// Writes as a copying program does, and closes the file.
fn write(image: &Image, address: u32, data: &[u8]) {
    for (start, piece) in (address..).step_by(REQUEST_LEN as usize).zip(data.chunks(REQUEST_LEN as usize)) {
        let (sender, receiver) = channel();
        image.write(start, start, piece, Box::new(move |result| sender.send(result).unwrap()));
        receiver.recv().unwrap().unwrap();
    }
    commit(image).unwrap();
}

/// The least time of messages with so many bytes, commands included, each.
fn wire(bytes: &[u32]) -> Duration {
    bytes.iter().map(|&bytes| MESSAGE + wire_time(bytes.into(), SPEED_HZ)).sum()
}

/// The least time of programming pages of noise.
fn pages(count: u32) -> Duration {
    count * (wire(&[1 + 4 + 256]) + PAGE_PROGRAM)
}

#[test]
fn a_dump_takes_as_many_messages_as_it_must_and_a_second_one_none() {
    let old = noise(1, CHIP_SIZE);
    let chip = ModelChip::new(&old);
    let image = chip.start(None).unwrap();
    let cost = Cost::of(&chip, &image, |image| assert!(read_all(image) == old));
    // One more each time that a message ends in what an idle line reads as.
    assert!(cost.totals.messages <= u64::from(CHIP_SIZE / MESSAGE_LEN) + 3, "{:?}", cost.totals);
    assert_eq!(cost.work.bytes_read, u64::from(CHIP_SIZE));
    let bound = wire(&vec![MESSAGE_LEN + 5; (CHIP_SIZE / MESSAGE_LEN) as usize]);
    assert!(cost.ratio("the whole chip, read", bound) < 1.001);

    let again = Cost::of(&chip, &image, |image| assert!(read_all(image) == old));
    assert_eq!((again.totals.messages, again.time), (0, Duration::ZERO));
}

#[test]
fn one_sector_takes_one_message() {
    let chip = ModelChip::new(&noise(1, CHIP_SIZE));
    let image = chip.start(None).unwrap();
    let cost = Cost::of(&chip, &image, |image| drop(read(image, 0x5000..0x6000)));
    assert_eq!((cost.totals.messages, cost.totals.bytes_read), (1, 4096));
}

#[test]
fn writing_what_is_there_reads_it_once_at_the_most() {
    let old = noise(1, CHIP_SIZE);
    let chip = ModelChip::new(&old);
    let image = chip.start(None).unwrap();
    let cold = Cost::of(&chip, &image, |image| write(image, 0, &old));
    assert!(cold.totals.messages <= u64::from(CHIP_SIZE / COMMIT_MESSAGE_LEN) + 3, "{:?}", cold.totals);
    assert_eq!((cold.work.bytes_read, cold.totals.pages_programmed), (u64::from(CHIP_SIZE), 0));
    let bound = wire(&vec![MESSAGE_LEN + 5; (CHIP_SIZE / MESSAGE_LEN) as usize]);
    assert!(cold.ratio("the same image, cold", bound) < 1.005);

    let warm = Cost::of(&chip, &image, |image| write(image, 0, &old));
    assert_eq!((warm.totals.messages, warm.time), (0, Duration::ZERO));
}

#[test]
fn clearing_a_bit_reads_a_sector_and_programs_a_byte() {
    let old = noise(1, CHIP_SIZE);
    let chip = ModelChip::new(&old);
    let image = chip.start(None).unwrap();
    let byte = old[0x5000] & (old[0x5000] - 1);
    let cost = Cost::of(&chip, &image, |image| write(image, 0x5000, &[byte]));
    assert_eq!((cost.totals.pages_programmed, cost.erases()), (1, 0));
    assert_eq!(cost.work.bytes_read, 4096 + 1);
    // The sector, who is there, the byte, the byte again; the first looks at a chip that is not known yet are several.
    assert!(cost.totals.messages <= 9, "{:?}", cost.totals);
    let bound = wire(&[5 + 4096, 1 + 5, 5 + 1]) + PAGE_PROGRAM;
    assert!(cost.ratio("a bit cleared", bound) < 1.1);
}

#[test]
fn setting_a_bit_reads_a_sector_twice_erases_it_and_reads_it_back() {
    let old = noise(1, CHIP_SIZE);
    let chip = ModelChip::new(&old);
    let image = chip.start(None).unwrap();
    let byte = old[0x5001] | (old[0x5001] + 1);
    let cost = Cost::of(&chip, &image, |image| write(image, 0x5001, &[byte]));
    assert_eq!((cost.totals.pages_programmed, cost.totals.erases[&4096], cost.erases()), (16, 1, 1));
    assert_eq!(cost.work.bytes_read, 3 * 4096);
    assert!(cost.messages_beside_pages() <= 20, "{:?}", cost.totals);
    let bound = wire(&[5 + 4096, 5 + 4096, 5, 5 + 4096]) + SECTOR_ERASE + pages(16);
    assert!(cost.ratio("a bit set", bound) < 1.02);
}

#[test]
fn a_partition_of_one_block_takes_one_erase_and_one_message_a_page() {
    let chip = ModelChip::new(&noise(1, CHIP_SIZE));
    let image = chip.start(None).unwrap();
    let mut new = noise(2, 64 << 10);
    new[161 * 256..].fill(0xFF);
    let cost = Cost::of(&chip, &image, |image| write(image, 0x7_0000, &new));
    assert_eq!((cost.totals.pages_programmed, cost.totals.erases[&65536], cost.erases()), (161, 1, 1));
    assert_eq!(cost.work.bytes_read, 2 * (64 << 10));
    assert!(cost.messages_beside_pages() <= 32, "{:?}", cost.totals);
    let block = 5 + (64 << 10);
    let bound = wire(&[block, 5, block]) + BLOCK_ERASE_64K + pages(161);
    assert!(cost.ratio("a 64 KiB partition", bound) < 1.02);
}

#[test]
fn a_large_write_takes_one_message_a_page_and_a_few_more_an_erase() {
    const LEN: u32 = 2 << 20;
    let chip = ModelChip::new(&noise(1, CHIP_SIZE));
    let image = chip.start(None).unwrap();
    let new = noise(2, LEN);
    let cost = Cost::of(&chip, &image, |image| write(image, 0x20_0000, &new));
    let blocks = LEN / (64 << 10);
    assert_eq!(cost.totals.pages_programmed, u64::from(LEN / 256));
    assert_eq!((cost.totals.erases[&65536], cost.erases()), (blocks.into(), blocks.into()));
    assert_eq!(cost.work.bytes_read, 2 * u64::from(LEN));
    // Of each block: read, is the chip there, erase, a look or two, read back. And looks at a chip that is not known yet.
    assert!(cost.messages_beside_pages() <= 13 * u64::from(blocks), "{:?}", cost.totals);
    // Two in the message of a page, two in a look at an erase.
    assert!(cost.work.status_reads <= 2 * (cost.totals.pages_programmed + 3 * u64::from(blocks)));
    let block = 5 + (64 << 10);
    let bound = blocks * (wire(&[block, 5, block]) + BLOCK_ERASE_64K + pages(256));
    assert!(cost.ratio("a 2 MiB partition", bound) < 1.02);
    let times = image.report().times;
    assert!(times.page_program.average().abs_diff(PAGE_PROGRAM) < Duration::from_micros(20), "{times:?}");
    assert_eq!(times.page_program.observed(), cost.totals.pages_programmed);
    assert_eq!(times.erases[&65536].observed(), u64::from(blocks));
}
