//! Writes a romfs image, the simplest file system of Linux: headers and file data at multiples of
//! 16 bytes, all numbers big-endian. Its format is in the kernel's `filesystems/romfs.rst`.

const HARD_LINK: u32 = 0;
const DIRECTORY: u32 = 1;
const FILE: u32 = 2;
const EXECUTABLE: u32 = 8;

/// Images are padded to whole blocks.
const BLOCK: usize = 1024;

enum Node {
    Directory(&'static [(&'static str, Node)]),
    File(&'static str),
    Script(&'static str),
}

const ROOT: &[(&str, Node)] = &[
    (
        "etc",
        Node::Directory(&[
            ("hostname", Node::File("norcam\n")),
            (
                "passwd",
                Node::File(
                    "root:x:0:0:root:/root:/bin/sh\n\
                     nobody:x:65534:65534:nobody:/:/bin/false\n",
                ),
            ),
            (
                "init.d",
                Node::Directory(&[(
                    "rcS",
                    Node::Script(
                        "#!/bin/sh\n\
                         mount -t proc proc /proc\n\
                         mount -t sysfs sysfs /sys\n\
                         ifconfig eth0 192.0.2.10 netmask 255.255.255.0 up\n\
                         /usr/sbin/telnetd -l /bin/sh &\n\
                         /usr/bin/norcam --stream /dev/video0 &\n",
                    ),
                )]),
            ),
            ("version", Node::File("norcam demonstration firmware 1.0\n")),
        ]),
    ),
    (
        "www",
        Node::Directory(&[(
            "index.html",
            Node::File("<!doctype html><title>norcam</title><p>This camera does not exist.\n"),
        )]),
    ),
    ("README", Node::File("This file system belongs to norfuse's demonstration chip.\n")),
];

/// The image, a multiple of 1 KiB.
pub(super) fn image() -> Vec<u8> {
    let mut image = b"-rom1fs-".to_vec();
    image.extend_from_slice(&[0; 8]);
    pad_name(&mut image, "norcam");

    let root = image.len();
    // The root is its own first entry.
    header(&mut image, ".", DIRECTORY | EXECUTABLE, offset(root), 0);
    let parent = link(&mut image, root, "..", root);
    entries(&mut image, ROOT, root, parent);

    let size = offset(image.len());
    image.resize(image.len().next_multiple_of(BLOCK), 0);
    image[8..12].copy_from_slice(&size.to_be_bytes());
    let summed = image.len().min(512);
    let sum = checksum(&image[..summed]);
    image[12..16].copy_from_slice(&sum.to_be_bytes());
    image
}

/// Appends `nodes` and what is below them; `directory` is their directory's header and `previous`
/// the entry before them.
fn entries(image: &mut Vec<u8>, nodes: &[(&str, Node)], directory: usize, mut previous: usize) {
    for (name, node) in nodes {
        let here = image.len();
        set_next(image, previous, here);
        match node {
            Node::Directory(children) => {
                let first = here + header_len(name);
                header(image, name, DIRECTORY | EXECUTABLE, offset(first), 0);
                header(image, ".", HARD_LINK, offset(here), 0);
                let parent = link(image, first, "..", directory);
                entries(image, children, here, parent);
            }
            Node::File(text) => file(image, name, FILE, text),
            Node::Script(text) => file(image, name, FILE | EXECUTABLE, text),
        }
        previous = here;
    }
}

fn file(image: &mut Vec<u8>, name: &str, kind: u32, text: &str) {
    header(image, name, kind, 0, offset(text.len()));
    image.extend_from_slice(text.as_bytes());
    image.resize(image.len().next_multiple_of(16), 0);
}

/// Appends a hard link behind the entry `previous`.
fn link(image: &mut Vec<u8>, previous: usize, name: &str, target: usize) -> usize {
    let here = image.len();
    set_next(image, previous, here);
    header(image, name, HARD_LINK, offset(target), 0);
    here
}

fn header(image: &mut Vec<u8>, name: &str, kind: u32, info: u32, size: u32) {
    let here = image.len();
    for number in [kind, info, size, 0] {
        image.extend_from_slice(&number.to_be_bytes());
    }
    pad_name(image, name);
    set_checksum(image, here);
}

fn header_len(name: &str) -> usize {
    16 + (name.len() + 1).next_multiple_of(16)
}

fn pad_name(image: &mut Vec<u8>, name: &str) {
    let end = image.len() + (name.len() + 1).next_multiple_of(16);
    image.extend_from_slice(name.as_bytes());
    image.resize(end, 0);
}

/// Makes the entry at `entry` point to the next one of its directory. The low four bits of that
/// word are the entry's kind.
fn set_next(image: &mut [u8], entry: usize, next: usize) {
    for (byte, next) in image[entry..entry + 4].iter_mut().zip(offset(next).to_be_bytes()) {
        *byte |= next;
    }
    set_checksum(image, entry);
}

/// Makes the words of the header at `entry` sum up to zero.
fn set_checksum(image: &mut [u8], entry: usize) {
    let name = &image[entry + 16..];
    let name_len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let end = entry + 16 + (name_len + 1).next_multiple_of(16);
    image[entry + 12..entry + 16].fill(0);
    let sum = checksum(&image[entry..end]);
    image[entry + 12..entry + 16].copy_from_slice(&sum.to_be_bytes());
}

/// What added to the big-endian words of `bytes` makes zero.
fn checksum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(4)
        .fold(0u32, |sum, word| sum.wrapping_sub(u32::from_be_bytes([word[0], word[1], word[2], word[3]])))
}

/// The image is far smaller than 4 GiB.
fn offset(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn be32(image: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(image[at..at + 4].try_into().unwrap())
    }

    /// Collects path and contents of all files below the directory entry at `entry`.
    fn walk(image: &[u8], entry: usize, path: &str, files: &mut Vec<(String, String)>) {
        let mut at = be32(image, entry + 4) as usize;
        while at != 0 {
            let word = be32(image, at);
            let name = image[at + 16..].split(|&byte| byte == 0).next().unwrap();
            let name = std::str::from_utf8(name).unwrap();
            let data = at + header_len(name);
            assert_eq!(checksum(&image[at..data]), 0, "{path}/{name}");
            let path = format!("{path}/{name}");
            match word & 7 {
                HARD_LINK => assert!(name == "." || name == ".."),
                DIRECTORY if name != "." => walk(image, at, &path, files),
                FILE => {
                    let contents = image[data..data + be32(image, at + 8) as usize].to_vec();
                    files.push((path, String::from_utf8(contents).unwrap()));
                }
                kind => assert_eq!((kind, name), (DIRECTORY, ".")),
            }
            at = (word & !15) as usize;
        }
    }

    #[test]
    fn the_files_are_found_by_walking_the_image() {
        let image = image();
        assert_eq!(&image[..8], b"-rom1fs-");
        assert_eq!(checksum(&image[..512]), 0);
        assert!(be32(&image, 8) as usize <= image.len());
        let mut files = Vec::new();
        walk(&image, 32, "", &mut files);
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            ["/etc/hostname", "/etc/passwd", "/etc/init.d/rcS", "/etc/version", "/www/index.html", "/README"]
        );
        assert!(files[2].1.contains("telnetd"));
    }
}
