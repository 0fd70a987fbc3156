use super::*;

const LIMIT: u64 = 64 << 10;

fn place(name: &str) -> Place {
    Place::new(Node::Root, OsStr::new(name))
}

fn attributes() -> Attributes {
    Attributes::new(0o640, 1, 2)
}

fn content(files: &ScratchFiles, number: u64) -> Vec<u8> {
    files.read(number, 0, u32::MAX, |bytes| bytes.unwrap().to_vec())
}

#[test]
fn what_is_written_reads_back_with_zeros_in_the_gap() {
    let files = ScratchFiles::new(LIMIT);
    let number = files.create(place("a"), attributes()).unwrap();
    files.write(number, 3, b"abc").unwrap();
    assert_eq!(content(&files, number), b"\0\0\0abc");
    files.resize(number, 4).unwrap();
    files.resize(number, 6).unwrap();
    assert_eq!(content(&files, number), b"\0\0\0a\0\0");
    assert_eq!(files.read(number, 4, 100, |bytes| bytes.unwrap().len()), 2);
    assert_eq!(files.read(number, 7, 100, |bytes| bytes.unwrap().len()), 0);
}

#[test]
fn all_files_together_keep_to_the_limit() {
    let files = ScratchFiles::new(LIMIT);
    let one = files.create(place("one"), attributes()).unwrap();
    let other = files.create(place("other"), attributes()).unwrap();
    files.resize(one, LIMIT - 4096).unwrap();
    assert_eq!(files.write(other, 4096, b"x"), Err(Error::NoSpace));
    assert_eq!(files.resize(other, u64::MAX), Err(Error::NoSpace));
    assert_eq!(files.write(other, u64::MAX, b"x"), Err(Error::NoSpace));
    assert_eq!(files.create(place("third"), attributes()), Err(Error::NoSpace));
    files.unlink(&place("one")).unwrap();
    files.write(other, LIMIT - 1, b"x").unwrap();
    files.unlink(&place("other")).unwrap();
    assert_eq!(files.state.lock().used, 0);
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let files = ScratchFiles::new(LIMIT);
    let number = files.create(place("a"), attributes()).unwrap();
    files.open(number).unwrap();
    files.unlink(&place("a")).unwrap();
    files.write(number, 0, b"still here").unwrap();
    assert_eq!(files.attributes(number).unwrap().nlink, 0);
    files.create(place("a"), attributes()).unwrap();
    files.close(number);
    assert!(files.attributes(number).is_none());
    assert_eq!(files.count(), 1);
}

#[test]
fn renaming_replaces_and_exchanging_does_not() {
    let files = ScratchFiles::new(LIMIT);
    let one = files.create(place("one"), attributes()).unwrap();
    let other = files.create(place("other"), attributes()).unwrap();
    files.exchange(one, other).unwrap();
    assert_eq!((files.find(&place("one")), files.find(&place("other"))), (Some(other), Some(one)));
    files.rename(one, place("one")).unwrap();
    assert_eq!((files.find(&place("one")), files.find(&place("other"))), (Some(one), None));
    assert_eq!(files.count(), 1);
    files.rename(one, place("one")).unwrap();
    assert_eq!(files.find(&place("one")), Some(one));
}

#[test]
fn a_directory_is_listed_by_number_and_without_gaps_after_removals() {
    let files = ScratchFiles::new(LIMIT);
    let numbers: Vec<u64> =
        ["a", "b", "c"].map(|name| files.create(place(name), attributes()).unwrap()).to_vec();
    files.create(Place::new(Node::Sectors, OsStr::new("elsewhere")), attributes()).unwrap();
    files.unlink(&place("a")).unwrap();
    assert_eq!(files.next_in(Node::Root, numbers[0]), Some((numbers[1], OsString::from("b"))));
    assert_eq!(files.next_in(Node::Root, numbers[1]), Some((numbers[2], OsString::from("c"))));
    assert_eq!(files.next_in(Node::Root, numbers[2]), None);
}

#[test]
fn a_file_that_has_changed_meanwhile_does_not_become_a_chip_file() {
    let files = ScratchFiles::new(LIMIT);
    let number = files.create(place("a"), attributes()).unwrap();
    files.open(number).unwrap();
    let (_, generation) = files.content_state(number).unwrap();
    files.write(number, 0, b"late").unwrap();
    assert_eq!(files.become_chip(number, generation, || panic!("it has not")), Ok(false));
    let (_, generation) = files.content_state(number).unwrap();
    assert_eq!(files.become_chip(number, generation, || {}), Ok(true));
    assert_eq!(files.find(&place("a")), None);
    assert_eq!(files.write(number, 0, b"later"), Err(Error::BecameChip));
    files.close(number);
    assert_eq!(files.count(), 0);
}

#[test]
fn writing_and_changing_the_owner_take_the_set_id_bits() {
    let files = ScratchFiles::new(LIMIT);
    let number = files.create(place("a"), Attributes::new(0o4755, 1, 2)).unwrap();
    files.write(number, 0, b"x").unwrap();
    assert_eq!(files.attributes(number).unwrap().perm, 0o755);
    files.change(number, Changes { mode: Some(0o6700), ..Changes::default() }).unwrap();
    files.change(number, Changes { gid: Some(7), ..Changes::default() }).unwrap();
    let attributes = files.attributes(number).unwrap();
    assert_eq!((attributes.perm, attributes.uid, attributes.gid), (0o700, 1, 7));
}
