//! The spidev programmer, through real ioctls of a node with a simulated chip behind it.
//!
//! norfuse runs with -f here: a system may let a process read the memory of its children only.

mod common;

use norfuse::spi::sim::faults::Faults;
use norfuse::spi::sim::model::Configuration;
use norfuse::spi::sim::status::RegisterMap;

use common::{Bench, Foreground, Frame, Setting, SpidevNode, noise};

const READ: u8 = 0x03;
const FAST_READ: u8 = 0x0b;
const PAGE_PROGRAM: u8 = 0x02;
const READ_STATUS_1: u8 = 0x05;
const WRITE_ENABLE: u8 = 0x06;
const BLOCK_ERASE_64K: u8 = 0xd8;
/// Page program and the three erases.
const NEED_WRITE_ENABLE: [u8; 4] = [PAGE_PROGRAM, 0x20, 0x52, BLOCK_ERASE_64K];

fn mount(bench: &Bench, node: &SpidevNode) -> Foreground {
    bench.mount_in_foreground(&node.device(), &[])
}

/// Unmounts and checks that the daemon ends well.
#[track_caller]
fn unmount(bench: &Bench, mut daemon: Foreground) {
    bench.sh("fusermount3 -u m").ok();
    assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
}

fn faults(words: &str) -> Faults {
    words.parse().unwrap()
}

#[test]
fn a_chip_is_copied_edited_and_unmounted() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    assert_eq!(bench.mounts()[0].source, node.device());
    assert_eq!(bench.sh("cat m/jedec_id").ok().stdout, "a14018\n");
    bench.sh("cp m/raw.bin a.bin && cmp a.bin chip.img").ok();
    assert_eq!(bench.info()["read"]["opcode"], "0B");

    let before = bench.counters();
    bench.sh("printf 'not aligned' | dd of=m/raw.bin bs=1 seek=70000 conv=notrunc").ok();
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    bench.sh("dd if=chip.img of=m/raw.bin bs=64k skip=3 seek=5 count=1 conv=notrunc").ok();
    let mut wanted = chip.clone();
    wanted[70_000..70_011].copy_from_slice(b"not aligned");
    wanted[0xa000..0xa003].copy_from_slice(b"hi\n");
    wanted[0x5_0000..0x6_0000].copy_from_slice(&chip[0x3_0000..0x4_0000]);
    node.assert_chip(&wanted);
    let after = bench.counters();
    assert_eq!(after.verify_failures, 0);
    let counted = node.wires().model.counters();
    assert_eq!(counted.pages_programmed, after.pages_programmed - before.pages_programmed);
    assert_eq!(counted.sectors_erased, after.erases[&4096]);
    assert_eq!(counted.blocks_64k_erased, after.erases[&65536]);

    bench.write("wanted", &wanted);
    bench.sh("cmp wanted m/raw.bin").ok();
    unmount(&bench, daemon);
    node.assert_chip(&wanted);
}

#[test]
fn reading_sends_nothing_that_could_change_the_chip() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    let daemon = mount(&bench, &node);
    bench.sh("cat m/raw.bin > /dev/null && cat m/info.json m/sfdp.bin m/unique_id > /dev/null").ok();
    bench.sh(": > m/raw.bin && touch m/raw.bin").ok();
    unmount(&bench, daemon);
    let harmful =
        [&NEED_WRITE_ENABLE[..], &[WRITE_ENABLE, 0x50, 0x01, 0x31, 0x11, 0x60, 0xc7, 0x42, 0x44, 0x7e, 0x98]]
            .concat();
    let sent: Vec<u8> =
        node.wires().frames().map(Frame::opcode).filter(|opcode| harmful.contains(opcode)).collect();
    assert!(sent.is_empty(), "{sent:02x?}");
    node.assert_chip(&chip);
}

#[test]
fn write_enable_and_its_command_are_one_message() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    let daemon = mount(&bench, &node);
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    unmount(&bench, daemon);
    let wires = node.wires();
    let mut commands = 0;
    for message in &wires.messages {
        for (index, frame) in message.iter().enumerate() {
            if NEED_WRITE_ENABLE.contains(&frame.opcode()) {
                commands += 1;
                assert!(index > 0 && message[index - 1].head == [WRITE_ENABLE], "{message:?}");
            }
        }
    }
    assert!(commands >= 17, "an erase and 16 pages: {commands}");
    let enabled = wires.frames().filter(|frame| frame.opcode() == WRITE_ENABLE).count();
    assert_eq!(enabled, commands);
}

#[test]
fn a_page_is_one_message_with_its_status_reads() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    bench.sh("dd if=chip.img of=m/raw.bin bs=64k skip=3 seek=5 count=1 conv=notrunc").ok();
    unmount(&bench, daemon);
    let wires = node.wires();
    let opcodes = |message: &[Frame]| message.iter().map(Frame::opcode).collect::<Vec<_>>();
    let messages: Vec<Vec<u8>> = wires.messages.iter().map(|message| opcodes(message)).collect();
    let count = |wanted: &[u8]| messages.iter().filter(|message| message[..] == *wanted).count();
    assert_eq!(count(&[WRITE_ENABLE, PAGE_PROGRAM, READ_STATUS_1, READ_STATUS_1]), 256);
    assert_eq!(wires.frames().filter(|frame| frame.opcode() == PAGE_PROGRAM).count(), 256);
    // The node's delays last as long as the system likes, so about every second page needs a further look.
    let looks = count(&[READ_STATUS_1]) + count(&[READ_STATUS_1, READ_STATUS_1]);
    assert!((1..=600).contains(&looks), "looked {looks} times beside the pages");
    let mut wanted = chip.clone();
    wanted[0x5_0000..0x6_0000].copy_from_slice(&chip[0x3_0000..0x4_0000]);
    drop(wires);
    node.assert_chip(&wanted);
}

#[test]
fn the_mode_is_0_and_the_clock_slow_first_and_then_as_asked() {
    let node = SpidevNode::new(&noise(1));
    let bench = Bench::new();
    let daemon = bench.mount_in_foreground(&node.device(), &["-o", "speed=16M"]);
    bench.sh("cat m/sectors/800000.bin > /dev/null").ok();
    assert_eq!(bench.info()["bus"]["clock_hz"], 16_000_000);
    unmount(&bench, daemon);
    let wires = node.wires();
    let modes: Vec<u32> = wires
        .settings
        .iter()
        .filter(|(setting, _)| matches!(setting, Setting::Mode | Setting::Mode32))
        .map(|&(_, value)| value)
        .collect();
    assert!(!modes.is_empty() && modes.iter().all(|&mode| mode == 0), "{modes:?}");
    let speeds: Vec<u32> = wires.frames().map(|frame| frame.speed_hz).collect();
    assert!(speeds[0] <= 2_000_000, "identified at {} Hz", speeds[0]);
    assert_eq!(speeds.iter().max(), Some(&16_000_000));
    // Earlier ones may have been read to try out the clock.
    let data =
        wires.frames().filter(|frame| frame.head.starts_with(&[FAST_READ, 0x80, 0, 0])).last().unwrap();
    assert_eq!(data.speed_hz, 16_000_000);
}

#[test]
fn a_whole_sector_and_more_is_read_in_one_message() {
    let node = SpidevNode::new(&noise(1));
    let bench = Bench::new();
    let daemon = mount(&bench, &node);
    bench.sh("cat m/raw.bin > /dev/null").ok();
    unmount(&bench, daemon);
    let wires = node.wires();
    let full = wires.frames().filter(|frame| frame.opcode() == FAST_READ && frame.len == 5 + 4096).count();
    assert!(full >= 4000, "only {full} of 4096 sectors were read in one message each");
    assert_eq!(wires.refused, 0);
}

#[test]
fn a_smaller_bufsiz_than_believed_is_found_out_and_kept_to() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    node.wires().bufsiz = 1000;
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    bench.sh("cmp m/raw.bin chip.img").ok();
    let refused = node.wires().refused;
    assert!((1..=8).contains(&refused), "refused {refused} times");
    bench.sh("dd if=chip.img of=m/raw.bin bs=5000 skip=7 seek=3 count=1 conv=notrunc").ok();
    assert_eq!(node.wires().refused, refused, "it did not keep to what it had found");
    let mut wanted = chip.clone();
    wanted[15_000..20_000].copy_from_slice(&chip[35_000..40_000]);
    unmount(&bench, daemon);
    node.assert_chip(&wanted);
}

#[test]
fn what_the_driver_gives_up_once_is_read_again_and_twice_is_an_error() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    bench.write("sector", &chip[0x7000..0x8000]);
    let daemon = mount(&bench, &node);
    node.wires().time_outs = 1;
    bench.sh("cmp m/sectors/007000.bin sector").ok();
    assert!(daemon.log().contains("timed out"), "{}", daemon.log());
    node.wires().time_outs = 2;
    bench.sh("cat m/sectors/a00000.bin").fails_with("Input/output error");
    bench.sh("cat m/sectors/a00000.bin").ok();
    unmount(&bench, daemon);
}

#[test]
fn a_bufsiz_that_hardly_holds_a_page_suffices() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    node.wires().bufsiz = 300;
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    bench.sh("cmp -n 4096 m/sectors/00a000.bin <(tail -c +40961 chip.img)").ok();
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    unmount(&bench, daemon);
    let mut wanted = chip;
    wanted[0xa000..0xa003].copy_from_slice(b"hi\n");
    node.assert_chip(&wanted);
}

#[test]
fn transfers_rounded_up_to_cache_lines_still_fit() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    node.wires().alignment = 128;
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.sh("dd if=chip.img of=m/raw.bin bs=64k skip=3 seek=5 count=1 conv=notrunc").ok();
    unmount(&bench, daemon);
    assert_eq!(node.wires().refused, 0);
    let mut wanted = chip.clone();
    wanted[0x5_0000..0x6_0000].copy_from_slice(&chip[0x3_0000..0x4_0000]);
    node.assert_chip(&wanted);
}

#[test]
fn a_line_that_answers_nothing_is_told_with_what_to_check() {
    for (fault, id) in [("disconnected", "ffffff"), ("stuck-low", "000000")] {
        let node = SpidevNode::new(&noise(1));
        node.wires().model.set_faults(faults(fault));
        let bench = Bench::new();
        let device = node.device();
        for arguments in [&[&*device, "m"][..], &["-f", &device, "m"], &["--identify", &device]] {
            let stderr = bench.norfuse_refuses(arguments);
            for word in [&device, "clip", "wire", "3.3 V", id] {
                assert!(stderr.contains(word), "{fault}: {arguments:?} should say {word:?}: {stderr}");
            }
        }
    }
}

#[test]
fn an_unknown_chip_without_sfdp_is_refused() {
    let configuration =
        Configuration { jedec_id: [0xc2, 0x99, 0x77], sfdp: Vec::new(), ..Configuration::default() };
    let node = SpidevNode::with_configuration(&noise(1), configuration);
    let bench = Bench::new();
    let stderr = bench.norfuse_refuses(&[&node.device(), "m"]);
    assert!(stderr.to_lowercase().contains("c29977"), "{stderr}");
    assert!(stderr.contains("SFDP"), "{stderr}");
    node.assert_chip(&noise(1));
}

#[test]
fn an_unknown_chip_with_sfdp_is_used_as_it_describes_itself() {
    let chip = noise(1);
    let configuration = Configuration { jedec_id: [0xc2, 0x99, 0x77], ..Configuration::default() };
    let node = SpidevNode::with_configuration(&chip, configuration);
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    assert_eq!(bench.sh("cat m/jedec_id").ok().stdout, "c29977\n");
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    unmount(&bench, daemon);
    let mut wanted = chip;
    wanted[0xa000..0xa003].copy_from_slice(b"hi\n");
    node.assert_chip(&wanted);
}

#[test]
fn an_unknown_chip_without_sfdp_is_used_as_the_part_that_is_named() {
    let chip = noise(1);
    let configuration =
        Configuration { jedec_id: [0xc2, 0x99, 0x77], sfdp: Vec::new(), ..Configuration::default() };
    let node = SpidevNode::with_configuration(&chip, configuration);
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = bench.mount_in_foreground(&node.device(), &["--chip", "gd25q128"]);
    let info = bench.info();
    assert_eq!((&info["chip"]["name"], &info["chip"]["source"]), (&"GD25Q128".into(), &"--chip".into()));
    bench.sh("cmp m/raw.bin chip.img").ok();
    unmount(&bench, daemon);
}

/// On some parts that norfuse knows by their id alone, 35h switches to four data lanes, 50h clears flags, and 31h is nothing.
#[test]
fn a_chip_of_another_maker_is_only_told_what_all_makers_parts_understand() {
    let chip = noise(1);
    let configuration = Configuration {
        jedec_id: [0x20, 0xba, 0x18],
        sfdp: Vec::new(),
        unique_id: None,
        status_registers: [0x1c, 0, 0],
        ..Configuration::default()
    };
    let node = SpidevNode::with_configuration(&chip, configuration);
    let bench = Bench::new();
    let daemon = bench.mount_in_foreground(&node.device(), &["--unlock", "--no-journal"]);
    bench.sh("dd if=/dev/zero of=m/raw.bin bs=4k count=1 conv=notrunc").fails_with("Input/output error");
    assert!(daemon.log().contains("does not know how protection is cleared"), "{}", daemon.log());
    let info = bench.info();
    assert_eq!(info["chip"]["name"], "N25Q128/MT25QL128");
    assert_eq!(info["protection"].as_object().unwrap().len(), 1, "{}", info["protection"]);
    drop(daemon);
    let understood = [0x02, 0x03, 0x05, 0x06, FAST_READ, 0x20, 0x4b, 0x5a, 0x9f, BLOCK_ERASE_64K];
    let wires = node.wires();
    let sent: Vec<u8> =
        wires.frames().map(Frame::opcode).filter(|opcode| !understood.contains(opcode)).collect();
    assert!(sent.is_empty(), "{sent:02x?}");
}

#[test]
fn a_known_chip_without_sfdp_and_unique_id_has_neither_file() {
    let chip = noise(1);
    let configuration = Configuration { sfdp: Vec::new(), unique_id: None, ..Configuration::default() };
    let node = SpidevNode::with_configuration(&chip, configuration);
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    assert_eq!(bench.sh("ls m").ok().stdout, "info.json\njedec_id\nmap.svg\npartitions\nraw.bin\nsectors\n");
    bench.sh("cmp m/raw.bin chip.img").ok();
    unmount(&bench, daemon);
    node.assert_chip(&chip);
}

#[test]
fn a_chip_set_to_another_dummy_count_is_read_by_03h() {
    let chip = noise(1);
    let dc = Configuration {
        register_map: RegisterMap::B,
        status_registers: [0, 0x40, 0],
        ..Configuration::default()
    };
    let other = Configuration { fast_read_dummies: 0, ..Configuration::default() };
    for configuration in [dc, other] {
        let node = SpidevNode::with_configuration(&chip, configuration);
        let bench = Bench::new();
        bench.write("chip.img", &chip);
        let daemon = mount(&bench, &node);
        bench.sh("cmp m/raw.bin chip.img").ok();
        assert_eq!(bench.info()["read"]["opcode"], "03");
        assert!(daemon.log().contains("03h"), "{}", daemon.log());
        unmount(&bench, daemon);
        let wires = node.wires();
        assert!(wires.frames().all(|frame| frame.opcode() != FAST_READ || frame.speed_hz <= 2_000_000));
        assert!(wires.frames().all(|frame| frame.opcode() != READ || frame.speed_hz <= 50_000_000));
        drop(wires);
        node.assert_chip(&chip);
    }
}

#[test]
fn a_chip_that_is_still_erasing_is_waited_for() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    node.wires().send(&[WRITE_ENABLE]);
    node.wires().send(&[BLOCK_ERASE_64K, 0x05, 0, 0]);
    let bench = Bench::new();
    let mut wanted = chip;
    wanted[0x5_0000..0x6_0000].fill(0xff);
    bench.write("wanted", &wanted);
    let daemon = mount(&bench, &node);
    bench.sh("cmp m/raw.bin wanted").ok();
    unmount(&bench, daemon);
}

#[test]
fn a_chip_that_is_powered_down_is_woken() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    node.wires().send(&[0xb9]);
    let bench = Bench::new();
    bench.write("chip.img", &chip);
    let daemon = mount(&bench, &node);
    bench.sh("cmp m/raw.bin chip.img").ok();
    unmount(&bench, daemon);
}

#[test]
fn what_the_chip_does_not_take_is_an_error_at_close_and_stays_pending() {
    let mut chip = noise(1);
    chip[0x5678] = 0xff;
    let node = SpidevNode::new(&chip);
    node.wires().model.set_faults(faults("weak-program=0x5678.0"));
    let bench = Bench::new();
    let mut daemon = mount(&bench, &node);
    let failed = bench.sh(r"printf '\xFE' | dd of=m/raw.bin bs=1 seek=$((0x5678)) conv=notrunc");
    assert!(failed.code == 1 && failed.stderr.contains("Input/output error"), "{failed}");
    assert_eq!(bench.sh("xxd -p -s 0x5678 -l 1 m/raw.bin").ok().stdout, "fe\n");
    assert_eq!(bench.sh("xxd -p -s 0x678 -l 1 m/sectors/005000.bin").ok().stdout, "fe\n");
    let info = bench.info();
    assert!(info["pending"]["bytes"].as_u64().unwrap() >= 1, "{info}");
    assert!(bench.counters().verify_failures >= 1, "{info}");
    assert!(daemon.log().contains("005678"), "{}", daemon.log());

    // With the cell mended the next synchronization gets it there.
    node.wires().model.set_faults(Faults::default());
    bench.python("import os\nfd = os.open('m/raw.bin', os.O_RDWR)\nos.fsync(fd)\n").ok();
    assert_eq!(bench.info()["pending"]["bytes"], 0);
    bench.sh("fusermount3 -u m").ok();
    assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
    chip[0x5678] = 0xfe;
    node.assert_chip(&chip);
}

#[test]
fn a_protected_chip_is_an_error_and_stays_as_it_is() {
    let chip = noise(1);
    // BP2..0 of SR1: everything is protected.
    let configuration = Configuration { status_registers: [0x1c, 0, 0], ..Configuration::default() };
    let node = SpidevNode::with_configuration(&chip, configuration);
    let bench = Bench::new();
    let daemon = mount(&bench, &node);
    bench
        .sh("dd if=/dev/zero of=m/sectors/00a000.bin bs=4096 count=1 conv=notrunc")
        .fails_with("Read-only file system");
    assert!(daemon.log().contains("protected"), "{}", daemon.log());
    bench.sh("fusermount3 -u m").ok();
    bench.wait_for_daemons();
    assert_eq!(node.wires().model.counters().status_writes, 0);
    assert!(node.contents() == chip, "the chip has changed");
}

#[test]
fn two_nodes_serve_two_mounts_at_a_time() {
    let chips = [noise(1), noise(2)];
    let nodes = chips.each_ref().map(|chip| SpidevNode::new(chip));
    let benches = [Bench::new(), Bench::new()];
    let daemons: Vec<Foreground> =
        benches.iter().zip(&nodes).map(|(bench, node)| mount(bench, node)).collect();
    for ((bench, chip), daemon) in benches.iter().zip(&chips).zip(daemons) {
        bench.write("chip.img", chip);
        bench.sh("cmp m/raw.bin chip.img").ok();
        unmount(bench, daemon);
    }
    for (node, chip) in nodes.iter().zip(&chips) {
        node.assert_chip(chip);
    }
}
