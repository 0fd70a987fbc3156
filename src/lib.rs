//! norfuse mounts an SPI NOR flash chip as a directory.
//!
//! ```text
//!   main ── cli ── daemon          what is asked for; start, background, signals, end
//!                    │
//!                    ▼
//!                   fs             files: names, attributes, handles, FUSE requests, the mount
//!                    │
//!                    ▼
//!                  image           the chip as bytes: cache, pending writes, plan, the bus thread
//!                    │
//!                    ▼
//!                  chip            JEDEC commands: identity, SFDP, read, erase, program, registers
//!                    │
//!                    ▼
//!                   spi            how bytes reach a chip: spidev, simulated
//! ```
//!
//! Beside it, for who only looks: `list` and `identify`, which print a `page` or JSON. `progress` shows what `daemon` waits for.
//! `facts` is what `fs` and `identify` tell programs of a chip, and `trouble` names what messages of all layers point at.
//!
//! A layer knows only the one below it. Nothing above `spi` knows which programmer is used, and nothing below `fs` knows of FUSE.
//!
//! Threads: four answer FUSE requests and never wait for the bus; one owns the chip and answers what the cache cannot; one keeps
//! the journal on the host's disk; one has the kernel drop its copies of bytes written under another name; one looks after callers
//! that are killed while they wait; one waits for signals. What takes several steps on the bus has a thread of its own as long as it
//! lasts: a rename onto the chip, an erase that a flash tool asks for, the search for what the chip says of its partitions, the
//! drawing of a map.
//!
//! Processes: what the user starts, which in the background waits and returns; the one that serves, restricted to what it has
//! open and to its state directory; and a small one that has kept the right to unmount, for when the serving one is told to end.
//!
//! Errors: each layer has one type, which carries that of the layer below as its source. What concerns a request reaches its
//! caller as an errno, from one table in `fs`; what concerns nobody in particular is logged. Whatever the chip has not taken stays
//! pending and readable.

pub mod chip;
pub mod cli;
pub mod daemon;
pub mod device;
pub mod facts;
pub mod fs;
pub mod identify;
pub mod image;
pub mod list;
pub mod logging;
pub mod page;
pub mod progress;
pub mod spi;
pub mod state_directory;
pub mod trouble;

/// An error and its causes on one line, as command-line tools print them.
pub fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let part = source.to_string();
        // Rust appends the number of a system's error to its text.
        let part = part.split(" (os error ").next().unwrap_or_default();
        // Whoever passes an error on as its own has told it already.
        if !text.ends_with(part) {
            text = format!("{text}: {part}");
        }
        cause = source.source();
    }
    text
}
