//! `map.svg`: drawn for whoever opens it, and for nobody else.

mod common;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use common::{Bench, CHIP_LEN, Foreground, SECTOR_LEN, SpidevNode, noise, patched, wait_until};

/// Copies the map and prints what it shows as JSON: the cells of each class and their marks by what their titles say, the legend, and
/// the partitions. Whatever parses is well-formed.
const LOOK: &str = "
import collections, json, re, xml.etree.ElementTree as xml
open('map.svg', 'wb').write(open('m/map.svg', 'rb').read())
root = xml.parse('map.svg').getroot()
S = '{http://www.w3.org/2000/svg}'
def group(name):
    return next(g for g in root.iter(S + 'g') if g.get('class') == name)
cells, titles = collections.Counter(), {}
for of_class in group('cells'):
    for run in of_class:
        counts = [int(count) for count in re.findall(r'h(\\d+)', run.get('d'))]
        title = run.find(S + 'title').text
        address, words = title.split(' ', 1)
        first, _, last = address.partition('-')
        assert not last or int(last, 16) + 1 - int(first, 16) == 4096 * sum(counts), title
        assert words.split(',')[0] == of_class.get('class'), title
        titles[first] = title
        for word in words.split(', '):
            cells[word] += sum(counts)
legend = {g.get('class'): int(g.find(S + 'text').find(S + 'tspan').text) for g in group('legend')}
labels = [''.join(t.itertext()) for t in group('partitions').iter(S + 'text')]
print(json.dumps({ 'title': root.find(S + 'title').text, 'cells': cells, 'legend': legend, 'titles': titles, 'labels': labels }))
";

/// What the map shows, drawn anew.
#[track_caller]
fn look(bench: &Bench) -> Value {
    let text = bench.python(LOOK).ok().stdout;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// How many sectors the map shows of what, without those that it shows none of; the legend must agree.
#[track_caller]
fn counts(map: &Value) -> BTreeMap<String, u64> {
    let counts = |value: &Value| -> BTreeMap<String, u64> {
        let entries = value.as_object().unwrap().iter();
        entries
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
            .collect()
    };
    assert_eq!(counts(&map["cells"]), counts(&map["legend"]));
    counts(&map["cells"])
}

#[track_caller]
fn assert_counts(map: &Value, expected: &[(&str, u64)]) {
    let expected = expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(counts(map), expected);
}

fn mount_with_faults(bench: &Bench, arguments: &[&str]) -> Foreground {
    let always = ["--no-scrub", "--sim-faults", "faults"];
    bench.mount_in_foreground("sim:chip.img", &[&always, arguments].concat())
}

fn set_faults(bench: &Bench, words: &str) {
    bench.write("faults.new", words.as_bytes());
    fs::rename(bench.path("faults.new"), bench.path("faults")).unwrap();
    // The chip looks once in a millisecond, and asks for it only when it is used.
    std::thread::sleep(std::time::Duration::from_millis(2));
}

fn end(bench: &Bench, daemon: &mut Foreground) -> Option<i32> {
    bench.sh("fusermount3 -u m").ok();
    daemon.exit_status()
}

#[test]
fn the_demonstration_firmware_looks_as_it_is_made() {
    let bench = Bench::new();
    bench.norfuse(&["sim:", "m"]).ok();
    let map = look(&bench);
    // Boot loader and kernel are noise; strings, telnetd and the environment are text; the kernel's end and the romfs are data.
    assert_counts(&map, &[("erased", 3704), ("zero", 32), ("text", 3), ("data", 2), ("compressed", 355)]);
    assert_eq!(map["title"], "FM25Q128A, 16 MiB");
    assert_eq!(map["titles"]["0x800000"], "0x800000-0x80ffff zero");
    assert_eq!(map["titles"]["0x040000"], "0x040000 text");
    bench.unmount();
}

#[test]
fn looking_at_the_file_reads_nothing_and_opening_it_what_is_not_cached() {
    let mut chip = noise(1);
    chip[0x3000..0x4000].fill(0);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    bench.norfuse(&["--no-scrub", "-o", "mtdparts=1m(a)", &node.device(), "m"]).ok();
    let messages = || node.wires().messages.len();
    let mounted = messages();
    bench.sh("ls -l m && stat m/map.svg && test -s m/map.svg && test -r m/map.svg").ok();
    assert_eq!(messages(), mounted);
    bench.sh("cat m/raw.bin > x").ok();
    let read = bench.info()["counters"]["bytes_read"].clone();
    assert_counts(&look(&bench), &[("compressed", 4095), ("zero", 1)]);
    // All was cached.
    assert_eq!(bench.info()["counters"]["bytes_read"], read);
    bench.unmount();

    bench.norfuse(&["--no-scrub", "-o", "mtdparts=1m(a)", &node.device(), "m"]).ok();
    look(&bench);
    let mapped = messages();
    assert!(mapped > mounted);
    assert_eq!(bench.info()["cache"]["cached_sectors"], CHIP_LEN / SECTOR_LEN);
    bench.sh("cmp m/raw.bin x").ok();
    assert_eq!(messages(), mapped);
    bench.unmount();
    node.assert_chip(&chip);
}

#[test]
fn the_length_before_opening_is_that_of_what_is_read() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let script = "
import os
before = os.stat('m/map.svg').st_size
fd = os.open('m/map.svg', os.O_RDONLY)
opened = os.fstat(fd).st_size
read = b''
while piece := os.read(fd, 100_000): read += piece
assert before == opened == len(read) == os.stat('m/map.svg').st_size, (before, opened, len(read))
assert os.pread(fd, 5, 0) == b'<svg ' and read.endswith(b'\\n')
assert os.pread(fd, 10, opened) == b''
";
    bench.python(script).ok();
    bench.sh("tar cf x.tar m/map.svg && cp m/map.svg y").ok();
    bench.unmount();
}

#[test]
fn partitions_are_outlined_and_named_whatever_their_names_are() {
    let bench = Bench::with_chip(&noise(1));
    bench.write("layout", "0:3ffff boot\n40000:4ffff <env>&\"x\"\n50800:fffffe kernel\n".as_bytes());
    bench.mount_with(&["--layout", "layout"]);
    let labels: Vec<String> = serde_json::from_value(look(&bench)["labels"].clone()).unwrap();
    assert_eq!(labels.len(), 3, "{labels:?}");
    for (label, expected) in labels.iter().zip(["boot 256 KiB", "<env>&\"x\" 64 KiB", "kernel 15.7 MiB"]) {
        assert!(label.ends_with(expected), "{label:?} should end with {expected:?}");
    }
    bench.unmount();
}

#[test]
fn a_table_of_partitions_is_found_before_the_map_is_drawn() {
    let name = |name: &str| [name.as_bytes(), &vec![0; 32 - name.len()]].concat();
    let size = u32::try_from(CHIP_LEN).unwrap().to_le_bytes();
    let area = [&0x1000_u32.to_le_bytes()[..], &0x2000_u32.to_le_bytes(), &name("AREA"), &[0, 0]].concat();
    let table = [&b"__FMAP__\x01\x01"[..], &[0; 8], &size, &name("FLASH"), &[1, 0], &area].concat();
    // Not where a search for a table alone would look.
    let bench = Bench::with_chip(&patched(&noise(1), 0x23_5400, &table));
    bench.mount();
    let labels = look(&bench)["labels"].clone();
    assert!(labels[0].as_str().is_some_and(|label| label.ends_with("AREA 8 KiB")), "{labels}");
    bench.unmount();
}

#[test]
fn what_is_not_on_the_chip_yet_is_marked_and_afterwards_is_not() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    look(&bench);
    // Somebody who goes on writing and does not ask for it to be on the chip.
    let script = "
import os, threading
fd = os.open('m/raw.bin', os.O_RDWR)
seen = threading.Event()
def write():
    while not seen.wait(0.05):
        os.pwrite(fd, bytes(4096), 0xa000)
writer = threading.Thread(target=write)
writer.start()
while '>0x00a000 zero, pending<' not in open('m/map.svg').read(): pass
seen.set()
writer.join()
os.close(fd)
";
    bench.python(script).ok();
    assert_counts(&look(&bench), &[("compressed", 4095), ("zero", 1)]);
    bench.unmount_to(&patched(&chip, 0xa000, &[0; 4096]));
}

#[test]
fn what_the_chip_has_refused_is_marked() {
    let mut chip = noise(1);
    chip[0x1_2345] = 0;
    let bench = Bench::with_chip(&chip);
    set_faults(&bench, "weak-erase=0x12345.3");
    let mut daemon = mount_with_faults(&bench, &[]);
    bench
        .sh("head -c 4096 /dev/zero | tr '\\0' '\\377' | dd of=m/raw.bin bs=4096 seek=18 conv=notrunc,fsync")
        .fails_with("Input/output error");
    let map = look(&bench);
    assert_eq!(map["titles"]["0x012000"], "0x012000 erased, failed");
    // What an erase takes along may be pending, too.
    assert!(counts(&map)["failed"] >= 1 && !counts(&map).contains_key("pending"), "{map}");
    set_faults(&bench, "");
    bench.sh("sync m/raw.bin").ok();
    assert_counts(&look(&bench), &[("compressed", 4095), ("erased", 1)]);
    assert_eq!(end(&bench, &mut daemon), Some(0));
}

#[test]
fn what_cannot_be_read_is_shown_as_that_beside_what_is_cached() {
    let bench = Bench::with_chip(&noise(1));
    set_faults(&bench, "");
    let mut daemon = mount_with_faults(&bench, &[]);
    bench.sh("cat m/sectors/{00b000,00a000,400000}.bin").ok();
    set_faults(&bench, "disconnected");
    let map = look(&bench);
    assert_counts(&map, &[("compressed", 3), ("unreadable", 4093)]);
    assert_eq!(map["titles"]["0x00a000"], "0x00a000-0x00bfff compressed");
    // An error for each sector would bury what else is in the log.
    let errors = daemon.log().matches("cannot read").count();
    assert!(errors < 20, "{errors}: {}", daemon.log());
    set_faults(&bench, "");
    assert_counts(&look(&bench), &[("compressed", 4096)]);
    assert_eq!(end(&bench, &mut daemon), Some(0));
}

#[test]
fn nobody_writes_or_removes_it() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    assert_eq!(bench.sh("stat -c '%a %F' m/map.svg").ok().stdout, "400 regular file\n");
    for change in ["echo x > m/map.svg", "truncate -s 0 m/map.svg", "rm m/map.svg", "chmod 600 m/map.svg"] {
        let refused = bench.sh(change);
        assert_ne!(refused.code, 0, "{change}: {refused}");
    }
    assert_counts(&look(&bench), &[("compressed", 4096)]);
    bench.unmount_to(&chip);
}

#[test]
fn many_who_open_it_at_a_time_have_the_chip_read_once() {
    let node = SpidevNode::new(&noise(1));
    let bench = Bench::new();
    bench.norfuse(&["--no-scrub", "-o", "mtdparts=1m(a)", &node.device(), "m"]).ok();
    let before = bench.counters().bytes_read;
    bench.sh("for i in $(seq 8); do cat m/map.svg > map$i & done; wait; for i in $(seq 8); do cmp map1 map$i; done").ok();
    let read = usize::try_from(bench.counters().bytes_read - before).unwrap();
    // Sectors, and what comes back while commands are sent.
    assert!((CHIP_LEN..CHIP_LEN + CHIP_LEN / 64).contains(&read), "{read}");
    bench.unmount();
}

/// Reading the chip takes longer than a test may: who cannot be let go, or keeps others from reading or unmounting, hangs.
#[test]
fn whoever_gives_up_waiting_is_let_go_and_nobody_else_has_to_wait() {
    let bench = Bench::with_chip(&noise(1));
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &["--sim-realtime", "--speed", "200k"]);
    for signal in ["INT", "KILL"] {
        let given_up = bench.sh(&format!("timeout -s {signal} 0.3 cat m/map.svg"));
        assert_ne!(given_up.code, 0, "{given_up}");
    }
    bench.sh("stat m/map.svg && ls -l m && cmp m/sectors/a00000.bin <(tail -c +10485761 chip.img | head -c 4096)").ok();
    wait_until("m is unmounted", || bench.sh("fusermount3 -u m").code == 0);
    assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
}
