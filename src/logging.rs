//! Where log messages go: standard error while somebody is looking at it, syslog in the background.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::{Builder, Env, Target};
use indicatif::ProgressBar;
use log::{Level, LevelFilter, Record};
use parking_lot::Mutex;

const SYSLOG_SOCKET: &str = "/dev/log";

/// The facility `daemon` of syslog(3), shifted as it stands in a priority.
const DAEMON_FACILITY: u8 = 3 << 3;

static STDERR_IS_JOURNAL: OnceLock<bool> = OnceLock::new();

static IN_BACKGROUND: AtomicBool = AtomicBool::new(false);

/// The bar that stands below the messages on standard error, if one does.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Keeps a bar below the messages, until dropped.
#[derive(Debug)]
pub struct Bar;

impl Bar {
    /// None if there is one already.
    pub fn show(bar: ProgressBar) -> Option<Self> {
        let mut shown = BAR.lock();
        shown.is_none().then(|| {
            *shown = Some(bar);
            Self
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = BAR.lock().take() {
            bar.finish_and_clear();
        }
    }
}

/// What messages begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The program's name and a word for the level: for people.
    Terminal,
    /// A priority in angle brackets, as the journal reads it from standard error.
    Journal,
    /// A priority, the program's name and process: for syslog.
    Syslog,
}

/// Starts logging to standard error. `RUST_LOG` says what; else what is informational or worse, and with `debug` more. Unless
/// `talkative`, only warnings and errors reach standard error, the rest waits for syslog.
pub fn start(debug: bool, talkative: bool) {
    let default = if debug { "debug" } else { "info" };
    // fuser reports each request that a file system does not have, and every unmount, as if it were a fault.
    let quiet_fuser = if debug { LevelFilter::Debug } else { LevelFilter::Error };
    let mut builder = Builder::new();
    if std::env::var_os("RUST_LOG").is_none() {
        builder.filter_module("fuser", quiet_fuser);
    }
    builder
        .parse_env(Env::default().default_filter_or(default))
        .target(Target::Pipe(Box::new(Output)))
        .format(move |buffer, record| {
            let form = form();
            if form == Form::Syslog || talkative || record.level() <= Level::Warn {
                buffer.write_all(message(form, record).as_bytes())?;
            }
            Ok(())
        })
        .init();
}

/// Sends what is logged from now on to syslog.
pub fn move_to_background() {
    IN_BACKGROUND.store(true, Ordering::SeqCst);
}

fn form() -> Form {
    if IN_BACKGROUND.load(Ordering::SeqCst) {
        Form::Syslog
    } else if *STDERR_IS_JOURNAL.get_or_init(stderr_is_journal) {
        Form::Journal
    } else {
        Form::Terminal
    }
}

/// Whether standard error is what `JOURNAL_STREAM` names, as systemd.exec(5) has it: programs started from a service inherit the
/// variable, but may have a terminal.
fn stderr_is_journal() -> bool {
    let stderr =
        || std::io::stderr().as_fd().try_clone_to_owned().ok().and_then(|fd| File::from(fd).metadata().ok());
    match (std::env::var("JOURNAL_STREAM"), stderr()) {
        (Ok(stream), Some(metadata)) => stream == format!("{}:{}", metadata.dev(), metadata.ino()),
        _ => false,
    }
}

fn message(form: Form, record: &Record<'_>) -> String {
    let mut text = String::new();
    let severity = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    // Writing to a String cannot fail.
    let _ = match form {
        Form::Terminal => match record.level() {
            Level::Error => write!(text, "norfuse: error: {}", record.args()),
            Level::Warn => write!(text, "norfuse: warning: {}", record.args()),
            Level::Info => write!(text, "norfuse: {}", record.args()),
            Level::Debug | Level::Trace => write!(text, "norfuse: {}: {}", record.target(), record.args()),
        },
        Form::Journal => write!(text, "<{severity}>{}", record.args()),
        Form::Syslog => {
            let priority = DAEMON_FACILITY | severity;
            write!(text, "<{priority}>norfuse[{}]: {}", std::process::id(), record.args())
        }
    };
    if form != Form::Syslog {
        text.push('\n');
    }
    text
}

/// One write is one message.
struct Output;

impl Write for Output {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        if IN_BACKGROUND.load(Ordering::SeqCst) {
            // There is nowhere to complain about a machine without syslog.
            let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(message, SYSLOG_SOCKET));
        } else {
            let write = || io::stderr().write_all(message);
            match &*BAR.lock() {
                Some(bar) => bar.suspend(write)?,
                None => write()?,
            }
        }
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(form: Form, level: Level) -> String {
        message(form, &Record::builder().level(level).args(format_args!("the clip slipped")).build())
    }

    #[test]
    fn a_message_carries_its_level_in_the_way_its_reader_expects() {
        assert_eq!(line(Form::Terminal, Level::Warn), "norfuse: warning: the clip slipped\n");
        assert_eq!(line(Form::Journal, Level::Error), "<3>the clip slipped\n");
        let expected = format!("<30>norfuse[{}]: the clip slipped", std::process::id());
        assert_eq!(line(Form::Syslog, Level::Info), expected);
    }
}
