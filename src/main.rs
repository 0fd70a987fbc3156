//! The `norfuse` command.

use std::io::{self, Write};
use std::process::ExitCode;

use norfuse::chip::Chip;
use norfuse::cli::{self, Command, DeviceConfig};
use norfuse::{daemon, device, error_text, identify, logging};

fn main() -> ExitCode {
    let result = match cli::parse() {
        Ok(Command::Completions(shell)) => print(&cli::completions(shell)),
        Ok(Command::Identify(device)) => {
            logging::start(false, true);
            show_identity(&device)
        }
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

fn show_identity(config: &DeviceConfig) -> Result<(), daemon::Error> {
    let chip = Chip::identify_as(config.chip.clone(), device::open(config)?, config.speed)
        .map_err(|source| daemon::Error::Chip { device: config.name.clone(), source })?;
    print(identify::page(&config.name, &chip).as_bytes())
}

fn print(page: &[u8]) -> Result<(), daemon::Error> {
    match io::stdout().write_all(page) {
        // Whoever reads the page may have seen enough of it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(daemon::Error::System { operation: "print", source: error })
        }
        _ => Ok(()),
    }
}
