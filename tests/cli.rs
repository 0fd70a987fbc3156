//! The command line: help, identification, and every way to get it wrong.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Bench, SpidevNode, noise};

/// Runs norfuse with arguments that it must refuse, and fails the test unless it says `message` in few lines.
#[track_caller]
fn refuses(bench: &Bench, arguments: &[&str], message: &str) {
    let stderr = bench.norfuse_refuses(arguments);
    assert!(stderr.contains(message), "{arguments:?} should say {message:?}: {stderr}");
}

#[test]
fn help_names_the_operands_and_every_option() {
    let bench = Bench::new();
    for flag in ["--help", "-h"] {
        let help = bench.norfuse(&[flag]).ok().stdout;
        for word in ["DEVICE", "MOUNTPOINT", "-f", "-d", "-o", "--identify", "-V", "sim:", "/dev/spidev"] {
            assert!(help.contains(word), "{flag} does not tell of {word}: {help}");
        }
    }
    let help = bench.norfuse(&["--help"]).ok().stdout;
    for option in ["ro", "allow_other", "allow_root", "uid=", "gid=", "umask=", "auto_unmount", "speed="] {
        assert!(help.contains(option), "--help does not tell of {option}: {help}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let bench = Bench::new();
    for flag in ["--version", "-V"] {
        assert_eq!(bench.norfuse(&[flag]).ok().stdout, concat!("norfuse ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn completions_of_a_shell_know_the_options() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let definitions = bench.norfuse(&["--completions", shell]).ok().stdout;
        for option in ["identify", "read-repeat", "FM25Q128A"] {
            assert!(definitions.contains(option), "{shell} does not complete {option}");
        }
    }
    refuses(&bench, &["--completions", "sh"], "possible values: bash");
}

#[test]
fn identify_tells_the_chip_and_mounts_nothing() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let told = bench.norfuse(&["--identify", "sim:chip.img"]).ok().stdout;
    for word in ["a14018", "FM25Q128", "16777216", "SFDP"] {
        assert!(told.contains(word), "does not tell {word}: {told}");
    }
    assert!(bench.mounts().is_empty());
    bench.wait_for_daemons();
    bench.assert_chip(&chip);
}

#[test]
fn wrong_arguments_are_told_from_wrong_devices() {
    let bench = Bench::with_chip(&noise(1));
    for arguments in
        [&[][..], &["sim:chip.img"], &["sim:chip.img", "m", "m"], &["--nonsense", "sim:chip.img", "m"]]
    {
        let stderr = bench.norfuse_refuses(arguments);
        assert!(stderr.contains("Usage") || stderr.contains("--help"), "{arguments:?}: {stderr}");
    }
    refuses(&bench, &["--nonsense", "sim:chip.img", "m"], "--nonsense");
}

#[test]
fn an_unknown_option_is_named() {
    let bench = Bench::with_chip(&noise(1));
    refuses(&bench, &["-o", "nonsense", "sim:chip.img", "m"], "nonsense");
    refuses(&bench, &["-o", "ro,colour=blue", "sim:chip.img", "m"], "colour");
    refuses(&bench, &["sim:chip.img", "m", "-o", "x_without_dash"], "x_without_dash");
}

#[test]
fn an_option_with_a_wrong_value_is_named() {
    let bench = Bench::with_chip(&noise(1));
    for option in ["uid=somebody", "gid=-1", "umask=999", "uid", "umask=", "ro=1"] {
        let name = option.split('=').next().unwrap();
        refuses(&bench, &["-o", option, "sim:chip.img", "m"], name);
    }
}

#[test]
fn a_wrong_speed_is_named() {
    let bench = Bench::with_chip(&noise(1));
    for speed in ["speed=fast", "speed=0", "speed=-1", "speed=12X", "speed=", "speed=99999999999999", "speed"]
    {
        refuses(&bench, &["-o", speed, "sim:chip.img", "m"], "speed");
    }
}

#[test]
fn a_missing_device_is_named() {
    let bench = Bench::new();
    refuses(&bench, &["/dev/nonexistent", "m"], "/dev/nonexistent");
    refuses(&bench, &["/dev/nonexistent", "m"], "No such file or directory");
    refuses(&bench, &["-f", "/dev/nonexistent", "m"], "/dev/nonexistent");
    refuses(&bench, &["--identify", "/dev/nonexistent"], "/dev/nonexistent");
    let stderr = bench.norfuse_refuses(&["/dev/nonexistent", "m"]);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_device_that_is_none_is_named() {
    let bench = Bench::with_chip(&noise(1));
    refuses(&bench, &["/dev/null", "m"], "/dev/null");
    refuses(&bench, &["chip.img", "m"], "chip.img");
    refuses(&bench, &["/", "m"], "/");
}

#[test]
fn a_device_without_permission_is_named() {
    let bench = Bench::of_ordinary_user(&noise(1));
    fs::set_permissions(bench.path("chip.img"), fs::Permissions::from_mode(0o000)).unwrap();
    refuses(&bench, &["sim:chip.img", "m"], "Permission denied");
    bench.write("spidev0.0", b"");
    fs::set_permissions(bench.path("spidev0.0"), fs::Permissions::from_mode(0o000)).unwrap();
    refuses(&bench, &["./spidev0.0", "m"], "Permission denied");
}

#[test]
fn a_simulated_chip_of_another_size_is_refused() {
    let bench = Bench::new();
    bench.write("chip.img", &[0xff; 1000]);
    refuses(&bench, &["sim:chip.img", "m"], "1000");
    refuses(&bench, &["sim:chip.img", "m"], "16777216");
    assert_eq!(bench.read("chip.img"), [0xff; 1000]);
    refuses(&bench, &["sim:missing/chip.img", "m"], "missing/chip.img");
}

#[test]
fn a_missing_mountpoint_is_named() {
    let bench = Bench::with_chip(&noise(1));
    refuses(&bench, &["sim:chip.img", "missing"], "missing");
    refuses(&bench, &["sim:chip.img", "missing"], "No such file or directory");
    refuses(&bench, &["-f", "sim:chip.img", "missing"], "missing");
}

#[test]
fn a_mountpoint_that_is_no_directory_is_named() {
    let bench = Bench::with_chip(&noise(1));
    bench.write("file", b"");
    refuses(&bench, &["sim:chip.img", "file"], "file");
    refuses(&bench, &["sim:chip.img", "file"], "ot a directory");
}

#[test]
fn a_refused_start_does_not_create_the_simulated_chip() {
    let bench = Bench::new();
    refuses(&bench, &["-o", "nonsense", "sim:chip.img", "m"], "nonsense");
    assert!(!bench.path("chip.img").exists());
}

#[test]
fn a_mountpoint_with_something_in_it_is_used_with_a_warning() {
    let bench = Bench::with_chip(&noise(1));
    bench.write("m/file", b"hidden for now");
    let started = bench.norfuse(&["sim:chip.img", "m"]).ok();
    assert!(started.stderr.contains("not empty"), "{started}");
    bench.sh("cat m/jedec_id").ok();
    bench.sh("cat m/file").fails_with("No such file or directory");
    bench.unmount();
    assert_eq!(bench.read("m/file"), b"hidden for now");
}

#[test]
fn a_good_start_prints_nothing() {
    let bench = Bench::with_chip(&noise(1));
    let started = bench.norfuse(&["sim:chip.img", "m"]).ok();
    assert_eq!((started.stdout.as_str(), started.stderr.as_str()), ("", ""));
    bench.unmount();
}

#[test]
fn identify_works_on_a_spidev_node() {
    let chip = noise(1);
    let node = SpidevNode::new(&chip);
    let bench = Bench::new();
    let told = bench.norfuse(&["--identify", &node.device()]).ok().stdout;
    assert!(told.contains("a14018") && told.contains("FM25Q128"), "{told}");
    node.assert_chip(&chip);
    let counters = node.wires().model.counters();
    assert_eq!((counters.pages_programmed, counters.status_writes), (0, 0));
}

#[test]
fn what_programs_read_of_the_chip_has_the_names_and_values_of_info_json() {
    let bench = Bench::with_chip(&noise(1));
    let json = bench.norfuse(&["--identify", "--json", "sim:chip.img"]).ok().stdout;
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    bench.mount();
    let info = bench.info();
    assert_eq!(told["chip"], info["chip"]);
    assert_eq!(told["read"], info["read"]);
    for (object, facts) in [("protection", &info["protection"]), ("bus", &info["bus"])] {
        let common = facts.as_object().unwrap().iter().filter(|(name, _)| *name != "state");
        for (name, value) in common {
            assert_eq!(&told[object][name], value, "{object}.{name}");
        }
    }
    bench.unmount();
}

#[test]
fn a_page_that_nobody_sees_has_no_colours() {
    let bench = Bench::new();
    for arguments in [&["--identify", "sim:"][..], &["--list"]] {
        let page = bench.norfuse(arguments).ok().stdout;
        assert!(!page.contains('\x1b'), "{page:?}");
    }
}

#[test]
fn a_page_has_colours_on_a_terminal_that_has_them_and_wants_them() {
    let bench = Bench::new();
    let on_terminal = |environment: &str| {
        let script = format!("env -u CI {environment} script -qec '\"$NORFUSE\" --identify sim:' /dev/null");
        bench.sh(&script).ok().stdout
    };
    assert!(on_terminal("TERM=xterm").contains("\x1b[1m"));
    for environment in ["TERM=xterm NO_COLOR=1", "TERM=dumb", "-u TERM"] {
        let page = on_terminal(environment);
        assert!(page.contains("a14018") && !page.contains('\x1b'), "{environment}: {page:?}");
    }
}

#[test]
fn what_goes_wrong_on_the_wire_is_told_with_the_row_of_the_troubleshooting_table() {
    let bench = Bench::new();
    for (faults, row) in
        [("disconnected", "all FF"), ("stuck-low", "all 00"), ("flip=0.3", "id differs each time")]
    {
        bench.write("faults", faults.as_bytes());
        refuses(
            &bench,
            &["--identify", "--sim-faults", "faults", "sim:"],
            &format!("see \"{row}\" in /usr/share/doc/norfuse/wiring"),
        );
    }
    refuses(&bench, &["--identify", "/dev/nonexistent"], "see \"node missing\"");
    bench.write("faults", b"protect=7");
    let page = bench.norfuse(&["--identify", "--sim-faults", "faults", "sim:"]).ok().stdout;
    assert!(page.contains("see \"protected\""), "{page}");
}

#[test]
fn a_list_shows_the_simulated_chip_and_how_to_try_it() {
    let bench = Bench::of_ordinary_user(&noise(1));
    let page = bench.norfuse(&["--list"]).ok().stdout;
    assert!(page.contains("sim:") && page.contains("norfuse"), "{page}");
    let list: serde_json::Value =
        serde_json::from_str(&bench.norfuse(&["--list", "--json"]).ok().stdout).unwrap();
    let devices = list["devices"].as_array().unwrap();
    assert!(devices.iter().any(|device| device["device"] == "sim:" && device["usable"] == true), "{list}");
    assert_eq!(list["mounting"]["usable"], true, "{list}");
    refuses(&bench, &["--list", "sim:"], "cannot be used with");
}
