//! The figures, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::bound::Bound;
use super::grid::Grid;
use super::jobs::Mark;
use super::measure::Run;

/// Everything that was measured.
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) clock_hz: u32,
    /// norfuse with the chip inside.
    pub(crate) simulated: Table,
    /// norfuse with the chip behind a spidev node, and flashrom on the same.
    pub(crate) spidev: Option<Table>,
    pub(crate) flashrom: Option<Table>,
}

/// One tool on one device.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) entries: Vec<Entry>,
}

/// One job.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) mark: Mark,
    pub(crate) bound: Bound,
    /// How many runs there were, of which `run` is the one in the middle.
    pub(crate) runs: usize,
    pub(crate) run: Run,
}

impl Report {
    fn tables(&self) -> impl Iterator<Item = &Table> {
        [Some(&self.simulated), self.spidev.as_ref(), self.flashrom.as_ref()].into_iter().flatten()
    }

    pub(crate) fn to_json(&self) -> String {
        let tables: Vec<Value> = self.tables().map(Table::to_json).collect();
        let report = json!({ "machine": self.machine, "clock_hz": self.clock_hz, "tables": tables });
        format!("{report:#}\n")
    }
}

impl Table {
    fn to_json(&self) -> Value {
        json!({ "title": self.title, "jobs": self.entries.iter().map(Entry::to_json).collect::<Vec<_>>() })
    }

    /// Everything about each job.
    fn grid(&self) -> Grid {
        let headings = [
            "job", "bound", "time", "ratio", "must be", "is", "messages", "bytes", "CPU", "peak RSS", "runs",
        ];
        let mut rows = vec![headings.map(str::to_owned).to_vec()];
        rows.extend(self.entries.iter().map(|entry| {
            let run = &entry.run;
            vec![
                entry.name.to_owned(),
                entry.bound_cell(),
                duration(run.time),
                entry.ratio_cell(),
                entry.mark.to_string(),
                if entry.is_reached() { "yes" } else { "no" }.to_owned(),
                run.messages.to_string(),
                run.bytes.to_string(),
                cell(run.processor.map(duration)),
                cell(run.peak_memory.map(|bytes| format!("{:.1} MiB", mib(bytes)))),
                entry.runs.to_string(),
            ]
        }));
        Grid(rows)
    }

    /// The jobs that another has done too, beside each other.
    fn compared(&self, other: &Self) -> Grid {
        let headings = [
            "job", "bound", "norfuse", "ratio", "messages", "bytes", "flashrom", "ratio", "messages", "bytes",
        ];
        let mut rows = vec![headings.map(str::to_owned).to_vec()];
        rows.extend(other.entries.iter().filter_map(|theirs| {
            let ours = self.entries.iter().find(|ours| ours.name == theirs.name)?;
            let mut row = vec![ours.name.to_owned(), ours.bound_cell()];
            for entry in [ours, theirs] {
                row.extend([duration(entry.run.time), entry.ratio_cell()]);
                row.extend([entry.run.messages.to_string(), entry.run.bytes.to_string()]);
            }
            Some(row)
        }));
        Grid(rows)
    }

    fn write_bounds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the bounds:")?;
        let mut bounded = self.entries.iter().filter(|entry| !entry.bound.time().is_zero());
        bounded.try_for_each(|entry| writeln!(f, "  {}: {}", entry.name, entry.bound))
    }

    fn write_lateness(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "how late the simulated time was:")?;
        for entry in &self.entries {
            let Some(late) = entry.run.lateness else { continue };
            writeln!(
                f,
                "  {}: {} waits, median {} us, p99 {} us, at most {} us",
                entry.name, late.waits, late.median_us, late.p99_us, late.max_us
            )?;
        }
        Ok(())
    }
}

impl Entry {
    /// Time over bound, where there is a bound.
    fn ratio(&self) -> Option<f64> {
        let bound = self.bound.time().as_secs_f64();
        (bound > 0.0).then(|| self.run.time.as_secs_f64() / bound)
    }

    fn is_reached(&self) -> bool {
        self.mark.is_reached(self.run.time, self.bound.time(), self.run.messages)
    }

    fn bound_cell(&self) -> String {
        cell(Some(self.bound.time()).filter(|time| !time.is_zero()).map(duration))
    }

    fn ratio_cell(&self) -> String {
        cell(self.ratio().map(|ratio| format!("{ratio:.3}")))
    }

    fn to_json(&self) -> Value {
        let run = &self.run;
        json!({
            "job": self.name,
            "bound_seconds": self.bound.time().as_secs_f64(),
            "bound": self.bound.to_string(),
            "runs": self.runs,
            "seconds": run.time.as_secs_f64(),
            "ratio": self.ratio(),
            "must_be": self.mark.to_string(),
            "is": self.is_reached(),
            "messages": run.messages,
            "bytes": run.bytes,
            "processor_seconds": run.processor.map(|time| time.as_secs_f64()),
            "peak_rss_bytes": run.peak_memory,
            "late": run.lateness.map(|late| json!({
                "waits": late.waits,
                "median_us": late.median_us,
                "p99_us": late.p99_us,
                "max_us": late.max_us,
            })),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; SPI clock {} MHz", self.machine, f64::from(self.clock_hz) / 1e6)?;
        for table in [Some(&self.simulated), self.spidev.as_ref()].into_iter().flatten() {
            writeln!(f, "\n{}\n\n{}", table.title, table.grid())?;
            table.write_bounds(f)?;
            table.write_lateness(f)?;
        }
        if let (Some(spidev), Some(flashrom)) = (&self.spidev, &self.flashrom) {
            writeln!(f, "\n{}\n\n{}", flashrom.title, spidev.compared(flashrom))?;
            flashrom.write_lateness(f)?;
        }
        Ok(())
    }
}

fn cell(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Three digits or more, in the unit that suits.
fn duration(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms >= 1000.0 => format!("{:.3} s", ms / 1e3),
        _ if ms >= 10.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.3} ms"),
    }
}

fn mib(bytes: u64) -> f64 {
    (bytes >> 10) as f64 / 1024.0
}
