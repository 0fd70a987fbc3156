//! What `contrib/bench` can be told.

use std::path::PathBuf;

use clap::Parser;

use super::jobs::Job;

/// Measures norfuse on a simulated chip in real time, through real mounts, and flashrom beside it where that is installed.
///
/// All of it takes a quarter of an hour. Judge ratios by a run on a machine that has nothing else to do.
#[derive(Debug, Parser)]
#[command(name = "contrib/bench", bin_name = "contrib/bench", disable_version_flag = true)]
pub(crate) struct Arguments {
    /// Leave out the job that takes a minute and more, and flashrom several
    #[arg(long)]
    pub(crate) quick: bool,

    /// Leave out the spidev node, and with it flashrom
    #[arg(long)]
    pub(crate) no_spidev: bool,

    /// Where to write the figures as JSON
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench.json"))]
    pub(crate) json: PathBuf,

    /// Only the jobs whose name contains one of these
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,

    /// Said by contrib/bench: without it, 'cargo bench' would take minutes.
    #[arg(long, hide = true)]
    pub(crate) run: bool,

    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    pub(crate) fn selects(&self, job: &Job) -> bool {
        let named = self.words.is_empty() || self.words.iter().any(|word| job.name.contains(word.as_str()));
        named && !(self.quick && job.is_long)
    }
}
