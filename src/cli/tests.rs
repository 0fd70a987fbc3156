use super::*;

fn parse(words: &[&str]) -> Command {
    let words = ["norfuse"].iter().chain(words);
    command(Arguments::try_parse_from(words).unwrap()).unwrap()
}

#[test]
fn the_command_line_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn a_device_and_a_mountpoint_are_a_mount_in_the_background_at_a_speed_to_be_found() {
    let Command::Mount(device, mount) = parse(&["/dev/spidev0.0", "m"]) else { panic!() };
    assert_eq!(device.device, Device::Spidev(PathBuf::from("/dev/spidev0.0")));
    assert_eq!(device.speed, Speed::Auto);
    assert!(!mount.foreground && !mount.settings.read_only);
    assert_eq!(mount.care.unlock, None);
}

#[test]
fn a_chip_may_be_named() {
    let chip = |words: &[&str]| match parse(words) {
        Command::Identify(device, _) => device.chip.map(|part| part.name),
        _ => panic!(),
    };
    let named = Some("N25Q128/MT25QL128".to_owned());
    assert_eq!(chip(&["--identify", "sim:"]), None);
    assert_eq!(chip(&["--identify", "--chip", "mt25ql128", "sim:"]), named);
    assert_eq!(chip(&["--identify", "-o", "chip=N25Q128", "sim:"]), named);
    assert!(Arguments::try_parse_from(["norfuse", "--identify", "--chip", "X25", "sim:"]).is_err());
}

#[test]
fn options_may_stand_behind_the_positionals_as_mount_puts_them() {
    let Command::Mount(device, mount) = parse(&["sim:x", "m", "-o", "ro,speed=8M", "-n", "-o", "debug"])
    else {
        panic!()
    };
    assert_eq!(device.device, Device::SimulatedFile(PathBuf::from("x")));
    assert_eq!(device.speed, Speed::Fixed(8_000_000));
    assert!(mount.settings.read_only && mount.foreground && mount.debug);
}

#[test]
fn unlocking_is_volatile_unless_permanent_is_said() {
    for (word, unlock) in [("--unlock", Unlock::Volatile), ("--unlock=permanent", Unlock::Permanent)] {
        let Command::Mount(_, mount) = parse(&[word, "sim:", "m", "-o", "unlock"]) else { panic!() };
        assert_eq!(mount.care.unlock, Some(unlock));
    }
    assert!(Arguments::try_parse_from(["norfuse", "--unlock=for-ever", "sim:", "m"]).is_err());
}

#[test]
fn partitions_come_from_one_of_their_sources() {
    let partitions = |words: &[&str]| {
        let words = ["norfuse", "sim:", "m"].iter().chain(words);
        command(Arguments::try_parse_from(words).unwrap()).map(|command| match command {
            Command::Mount(_, mount) => mount.partitions,
            _ => panic!(),
        })
    };
    let layout = Ok(PartitionsConfig::Layout(PathBuf::from("file")));
    let mtdparts = Ok(PartitionsConfig::Mtdparts(Mtdparts::parse("1m(a),-(b)").unwrap()));
    assert_eq!(partitions(&[]), Ok(PartitionsConfig::Chip));
    assert_eq!(partitions(&["--layout", "file"]), layout);
    assert_eq!(partitions(&["-o", "ro,layout=file"]), layout);
    assert_eq!(partitions(&["--mtdparts", "1m(a),-(b)"]), mtdparts);
    assert_eq!(partitions(&["-o", "ro,mtdparts=1m(a),-(b),debug"]), mtdparts);
    assert!(partitions(&["--mtdparts", "-(all)"]).is_ok());
    assert_eq!(partitions(&["--layout", "file", "-o", "mtdparts=-"]), Err(Error::LayoutAndMtdparts));
    assert!(matches!(partitions(&["--mtdparts", "1x"]), Err(Error::Mtdparts(_))));
}

#[test]
fn completions_need_no_device() {
    assert_eq!(parse(&["--completions", "bash"]), Command::Completions(Shell::Bash));
    assert!(Arguments::try_parse_from(["norfuse", "--completions", "bash", "sim:"]).is_err());
}

#[test]
fn identify_takes_a_device_and_no_mountpoint_and_list_takes_neither() {
    assert!(matches!(parse(&["--identify", "sim:"]), Command::Identify(_, Format::Page)));
    assert!(matches!(parse(&["--identify", "--json", "sim:"]), Command::Identify(_, Format::Json)));
    assert_eq!(parse(&["--list"]), Command::List(Format::Page));
    assert_eq!(parse(&["--list", "--json"]), Command::List(Format::Json));
    for words in [
        &["--identify", "sim:", "m"][..],
        &["sim:"],
        &[],
        &["--list", "sim:"],
        &["--list", "--identify"],
        &["--json"],
        &["--json", "sim:", "m"],
    ] {
        assert!(Arguments::try_parse_from(["norfuse"].iter().chain(words)).is_err(), "{words:?}");
    }
}
