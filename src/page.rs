//! Pages for people: headings, aligned rows, and a word in colour here and there. Whoever prints a page drops the colours
//! where nobody would see them.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};

/// Where values begin.
const INDENT: &str = "  ";
const NAME_WIDTH: usize = 18;

/// How a word is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be known.
    Careful,
    /// In the way.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let color = match self {
            Self::Good => AnsiColor::Green,
            Self::Careful => AnsiColor::Yellow,
            Self::Bad => AnsiColor::Red,
        };
        color.on_default().bold()
    }
}

/// A page that is being written, with colours in it.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A heading, with an empty line above it unless it is the first.
    pub fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(format_args!("{}\n", styled(Style::new().bold(), heading)));
    }

    /// A name, and what is to be said of it.
    pub fn row(&mut self, name: &str, value: &str) {
        self.line(format_args!("{INDENT}{name:<NAME_WIDTH$}{value}\n"));
    }

    /// The same with a word before it that tells how it is meant.
    pub fn verdict(&mut self, name: &str, tone: Tone, word: &str, rest: &str) {
        let word = styled(tone.style(), word);
        self.line(format_args!("{INDENT}{name:<NAME_WIDTH$}{word}{rest}\n"));
    }

    /// A sentence behind a word that tells how it is meant.
    pub fn remark(&mut self, tone: Tone, word: &str, sentence: &str) {
        let gap = " ".repeat(NAME_WIDTH.saturating_sub(word.len()));
        let word = styled(tone.style(), word);
        self.line(format_args!("{INDENT}{word}{gap}{sentence}\n"));
    }

    /// More about the row above.
    pub fn more(&mut self, text: &str) {
        self.row("", text);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(line);
    }

    /// The page without colours.
    #[cfg(test)]
    pub(crate) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }

    /// Prints the page, with colours if standard output is a terminal that has them and `NO_COLOR` is not set.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn print(&self) -> io::Result<()> {
        anstream::stdout().write_all(self.text.as_bytes())
    }
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A size in the largest binary unit that leaves no rest.
pub fn size(bytes: u32) -> String {
    match bytes {
        _ if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        _ if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// A frequency in the largest unit that leaves no rest.
pub fn frequency(hz: u32) -> String {
    match hz {
        _ if hz % 1_000_000 == 0 => format!("{} MHz", hz / 1_000_000),
        _ if hz % 1_000 == 0 => format!("{} kHz", hz / 1_000),
        _ => format!("{hz} Hz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_each_other_whatever_is_coloured() {
        let mut page = Page::default();
        page.heading("Chip");
        page.row("part", "W25Q128");
        page.verdict("/dev/spidev0.0", Tone::Bad, "not usable", ": in use");
        page.remark(Tone::Good, "ok", "it answers");
        page.more("more of it");
        let plain = page.plain();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[0], "Chip");
        for (line, value) in
            lines[1..].iter().zip(["W25Q128", "not usable: in use", "it answers", "more of it"])
        {
            assert_eq!(line.find(value), Some(INDENT.len() + NAME_WIDTH), "{line}");
        }
    }

    #[test]
    fn sizes_and_frequencies_have_the_unit_that_people_use() {
        assert_eq!([16 << 20, 4096, 100].map(size), ["16 MiB", "4 KiB", "100 bytes"]);
        assert_eq!([32_000_000, 32_768_000, 1_000_001].map(frequency), ["32 MHz", "32768 kHz", "1000001 Hz"]);
    }
}
