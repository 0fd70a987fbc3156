//! The `norfuse` command.

use std::io::{self, Write};
use std::process::ExitCode;

use norfuse::chip::Chip;
use norfuse::cli::{self, Command, DeviceConfig, Format};
use norfuse::{daemon, device, error_text, identify, list, logging};

fn main() -> ExitCode {
    let result = match cli::parse() {
        Ok(Command::Completions(shell)) => printed(io::stdout().write_all(&cli::completions(shell))),
        Ok(Command::Identify(device, format)) => {
            logging::start(false, true);
            identify(&device, format)
        }
        Ok(Command::List(format)) => printed(match format {
            Format::Page => list::List::of_this_machine().page().print(),
            Format::Json => io::stdout().write_all(list::List::of_this_machine().json().as_bytes()),
        }),
        Ok(Command::Mount(device, config)) => {
            logging::start(config.debug, config.foreground);
            daemon::run(device, config)
        }
        Err(error) => {
            eprintln!("norfuse: {}", error_text(&error));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("norfuse: {}", error_text(&error));
            ExitCode::FAILURE
        }
    }
}

fn identify(config: &DeviceConfig, format: Format) -> Result<(), daemon::Error> {
    let chip = Chip::identify_as(config.chip.clone(), device::open(config)?, config.speed)
        .map_err(|source| daemon::Error::Chip { device: config.name.clone(), source })?;
    printed(match format {
        Format::Page => identify::page(&config.name, &chip).print(),
        Format::Json => io::stdout().write_all(identify::json(&config.name, &chip).as_bytes()),
    })
}

fn printed(result: io::Result<()>) -> Result<(), daemon::Error> {
    match result {
        // Whoever reads the page may have seen enough of it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(daemon::Error::System { operation: "print", source: error })
        }
        _ => Ok(()),
    }
}
