//! The demonstration firmware: 16 MiB like a small camera's, made up in code. Nothing in it is
//! anybody's; names are fictitious and what would be program code is noise.
//!
//! | from | what |
//! |---|---|
//! | 0x000000 | boot loader: noise, zeros and readable strings; `telnetd` at 0x00a000, in a sector that ends in a newline |
//! | 0x040000 | boot loader environment, 64 KiB with its CRC32 |
//! | 0x050000 | kernel: a legacy uImage with correct CRC32s, its data noise |
//! | 0x250000 | root file system: a small romfs |
//! | 0x800000 | 64 KiB of zeros |
//!
//! Everything else is erased.

mod romfs;

use super::splitmix::SplitMix64;
use super::storage::CHIP_SIZE;

/// Where the environment begins.
pub const ENVIRONMENT: usize = 0x04_0000;
/// Size of the environment in bytes, its CRC32 included.
pub const ENVIRONMENT_LEN: usize = 0x1_0000;
/// Where the kernel begins.
pub const KERNEL: usize = 0x05_0000;
/// Where the root file system begins.
pub const ROOT_FILE_SYSTEM: usize = 0x25_0000;

/// Bytes of kernel behind its header.
const KERNEL_DATA_LEN: u32 = 0x15_a3c4;
/// 2020-02-20 00:00:00 UTC.
const BUILD_TIME: u32 = 1_582_156_800;

/// The whole image, the same every time.
pub fn firmware() -> Vec<u8> {
    let mut image = vec![0xff; CHIP_SIZE as usize];
    boot_loader(&mut image);
    put(&mut image, ENVIRONMENT, &environment());
    put(&mut image, KERNEL, &kernel());
    put(&mut image, ROOT_FILE_SYSTEM, &romfs::image());
    image[0x80_0000..0x81_0000].fill(0);
    image
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn boot_loader(image: &mut [u8]) {
    SplitMix64::new(1).fill(&mut image[..0x9000]);
    // Eight ARM branches, as at every vector table.
    for vector in image[..32].chunks_mut(4) {
        vector.copy_from_slice(&[0x14, 0xf0, 0x9f, 0xe5]);
    }
    image[0x9000..0xc000].fill(0);
    put(image, 0x9000, BOOT_STRINGS);
    put(image, 0xa000, b"/usr/sbin/telnetd -l /bin/sh\0");
    // Text editors give what they save a newline at its end, and a sector that has none would get longer.
    put(image, 0xafff, b"\n");
}

const BOOT_STRINGS: &[u8] = b"U-Boot 2016.11-norcam (Feb 20 2020 - 00:00:00 +0000)\0\
    Norcam Demonstration Board\0\
    Hit any key to stop autoboot: %2d \0\
    SF: Detected %s with page size \0\
    SF: unrecognized JEDEC id bytes: %02x, %02x, %02x\n\0\
    ## Booting kernel from Legacy Image at %08lx ...\n\0\
    Verifying Checksum ... \0Bad Data CRC\n\0\
    Warning: bad CRC, using default environment\n\0";

/// The environment: CRC32 of what follows, variables that each end in a zero byte, zeros.
fn environment() -> Vec<u8> {
    let mut variables = Vec::new();
    for variable in ENVIRONMENT_VARIABLES {
        variables.extend_from_slice(variable.as_bytes());
        variables.push(0);
    }
    variables.resize(ENVIRONMENT_LEN - 4, 0);
    let mut environment = crc32(&variables).to_le_bytes().to_vec();
    environment.append(&mut variables);
    environment
}

const ENVIRONMENT_VARIABLES: &[&str] = &[
    "baudrate=115200",
    "bootargs=console=ttyS0,115200 root=/dev/mtdblock3 rootfstype=romfs mem=40M \
     mtdparts=norfuse:256k(boot),64k(env),2m(kernel),-(rootfs)",
    "bootcmd=sf probe 0; sf read 0x82000000 0x50000 0x200000; bootm 0x82000000",
    "bootdelay=1",
    "ethaddr=02:00:00:12:34:56",
    "ipaddr=192.0.2.10",
    "serverip=192.0.2.1",
    "stderr=serial",
    "stdin=serial",
    "stdout=serial",
];

/// A legacy uImage: header of 64 bytes, all numbers big-endian, and data.
fn kernel() -> Vec<u8> {
    const OS_LINUX: u8 = 5;
    const ARCHITECTURE_ARM: u8 = 2;
    const TYPE_KERNEL: u8 = 2;
    const COMPRESSION_LZMA: u8 = 3;
    const LOAD_ADDRESS: u32 = 0x8000_8000;

    let mut data = vec![0; KERNEL_DATA_LEN as usize];
    SplitMix64::new(2).fill(&mut data);

    let mut header = Vec::with_capacity(64 + data.len());
    let numbers = [0x2705_1956, 0, BUILD_TIME, KERNEL_DATA_LEN, LOAD_ADDRESS, LOAD_ADDRESS, crc32(&data)];
    for number in numbers {
        header.extend_from_slice(&number.to_be_bytes());
    }
    header.extend_from_slice(&[OS_LINUX, ARCHITECTURE_ARM, TYPE_KERNEL, COMPRESSION_LZMA]);
    header.extend_from_slice(b"Linux-3.10.14-norcam");
    header.resize(64, 0);
    let header_crc = crc32(&header);
    header[4..8].copy_from_slice(&header_crc.to_be_bytes());
    header.append(&mut data);
    header
}

/// The CRC32 of Ethernet, zlib and the boot loader.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0u32;
        while index < 256 {
            let mut value = index;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 0 { value >> 1 } else { value >> 1 ^ 0xedb8_8320 };
                bit += 1;
            }
            table[index as usize] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn be32(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn crc32_of_the_check_string_is_the_published_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_firmware_fills_the_chip_and_is_the_same_every_time() {
        let image = firmware();
        assert_eq!(image.len(), CHIP_SIZE as usize);
        assert!(image == firmware());
    }

    #[test]
    fn the_environment_has_a_correct_crc_and_the_partitions() {
        let image = firmware();
        let environment = &image[ENVIRONMENT..ENVIRONMENT + ENVIRONMENT_LEN];
        assert_eq!(environment[..4], crc32(&environment[4..]).to_le_bytes());
        let text = String::from_utf8_lossy(&environment[4..]);
        let bootargs = text.split('\0').find(|variable| variable.starts_with("bootargs=")).unwrap();
        assert!(bootargs.ends_with("mtdparts=norfuse:256k(boot),64k(env),2m(kernel),-(rootfs)"));
    }

    #[test]
    fn the_kernel_has_a_uimage_header_with_correct_crcs() {
        let image = firmware();
        let mut header = image[KERNEL..KERNEL + 64].to_vec();
        assert_eq!(be32(&header, 0), 0x2705_1956);
        let data = &image[KERNEL + 64..KERNEL + 64 + be32(&header, 12) as usize];
        assert_eq!(be32(&header, 24), crc32(data));
        let header_crc = be32(&header, 4);
        header[4..8].fill(0);
        assert_eq!(header_crc, crc32(&header));
        assert!(KERNEL + 64 + data.len() <= ROOT_FILE_SYSTEM);
    }

    #[test]
    fn telnetd_is_plain_text_in_its_sector() {
        let sector = &firmware()[0xa000..0xb000];
        assert!(sector.windows(7).any(|window| window == b"telnetd"));
    }
}
