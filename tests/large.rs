//! Chips of 32 MiB, by both ways of four address bytes, through real ioctls and real mounts.

mod common;

use norfuse::spi::sim::model::{Addressing, Configuration};
use norfuse::spi::sim::status::RegisterMap;

use common::{Bench, SpidevNode, noise};

const CHIP_LEN: usize = 32 << 20;

/// A W25Q256, which has a mode that its third register shows.
fn with_mode() -> Configuration {
    Configuration {
        jedec_id: [0xef, 0x40, 0x19],
        register_map: RegisterMap::B,
        sfdp: Vec::new(),
        addressing: Addressing::Mode,
        ..Configuration::default()
    }
}

/// A GD25Q256, which has opcodes of their own.
fn with_opcodes() -> Configuration {
    Configuration { jedec_id: [0xc8, 0x40, 0x19], addressing: Addressing::Opcodes, ..with_mode() }
}

fn contents() -> Vec<u8> {
    let contents = [noise(1), noise(2)].concat();
    assert_eq!(contents.len(), CHIP_LEN);
    contents
}

#[test]
fn a_chip_of_32_mib_is_copied_and_written_also_after_it_has_lost_power_unnoticed() {
    let chip = contents();
    for configuration in [with_mode(), with_opcodes()] {
        let node = SpidevNode::with_configuration(&chip, configuration);
        let bench = Bench::new();
        bench.write("chip.img", &chip);
        let mut daemon = bench.mount_in_foreground(&node.device(), &[]);
        bench.sh("cmp m/raw.bin chip.img").ok();
        assert_eq!(bench.sh("ls m/sectors | sed -n '1p;$p'").ok().stdout, "00000000.bin\n01fff000.bin\n");

        bench.sh("echo hi > m/sectors/0100a000.bin").ok();
        node.wires().model.power_cycle();
        bench.sh("dd if=chip.img of=m/raw.bin bs=64k skip=3 seek=300 count=1 conv=notrunc").ok();
        bench.sh("printf 'not aligned' | dd of=m/raw.bin bs=1 seek=$((0x1ffff00)) conv=notrunc").ok();
        bench.sh("fusermount3 -u m").ok();
        assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());

        let mut wanted = chip.clone();
        wanted[0x100_a000..0x100_a003].copy_from_slice(b"hi\n");
        wanted[300 << 16..301 << 16].copy_from_slice(&chip[3 << 16..4 << 16]);
        wanted[0x1ff_ff00..0x1ff_ff0b].copy_from_slice(b"not aligned");
        node.assert_chip(&wanted);
        assert!(!node.wires().model.is_in_four_byte_mode());
    }
}

#[test]
fn a_chip_that_does_not_take_four_address_bytes_is_not_mounted() {
    let chip = contents();
    for configuration in [with_mode(), with_opcodes()] {
        let configuration = Configuration { addressing: Addressing::ThreeBytes, ..configuration };
        let node = SpidevNode::with_configuration(&chip, configuration);
        let bench = Bench::new();
        let refused = bench.norfuse_refuses(&[&node.device(), "m"]);
        assert!(refused.contains("the chip has more than 16 MiB, but"), "{refused}");
        assert_eq!(node.contents(), chip);
    }
}
