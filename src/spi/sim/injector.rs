//! Makes [`Faults`] happen: decides which bits flip, which frames are lost and when power fails,
//! and follows a file that says which faults there are. Everything but the file's moment of change
//! is a function of the seed and of what is asked.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::faults::Faults;
use super::splitmix::SplitMix64;

/// How often the fault file is looked at, at most.
const FILE_CHECK_INTERVAL: Duration = Duration::from_millis(1);
/// A file that changed this recently may change again under the same time stamp.
const FILE_SETTLES_IN: Duration = Duration::from_millis(100);

/// The faults in force and the state of their random choices.
#[derive(Debug)]
pub(super) struct Injector {
    faults: Faults,
    read_flips: Events,
    written_flips: Events,
    losses: Events,
    remains: SplitMix64,
    operations: u64,
    file: Option<FaultFile>,
}

impl Injector {
    /// An injector that starts with `faults` and follows no file.
    pub(super) fn new(faults: Faults) -> Self {
        // Each choice has a sequence of its own, so that one fault does not shift another's.
        let sequence = |number: u64| SplitMix64::new(SplitMix64::new(faults.seed ^ number << 56).next());
        Self {
            read_flips: Events::new(faults.flip_read, sequence(1)),
            written_flips: Events::new(faults.flip_written, sequence(2)),
            losses: Events::new(faults.lost, sequence(3)),
            remains: sequence(4),
            operations: 0,
            file: None,
            faults,
        }
    }

    /// Begins anew with other faults.
    pub(super) fn set(&mut self, faults: Faults) {
        let file = self.file.take();
        *self = Self { file, ..Self::new(faults) };
    }

    /// The faults in force.
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Follows the file at `path` from the next [`changed_faults`](Self::changed_faults) on.
    pub(super) fn follow(&mut self, path: PathBuf) {
        self.file = Some(FaultFile { path, last_read: Ok(String::new()), checked: None, settled: None });
    }

    /// The faults that the file names, when they are others than last time.
    pub(super) fn changed_faults(&mut self) -> Option<Faults> {
        let file = self.file.as_mut()?;
        let text = file.changed_text()?;
        let (faults, errors) = Faults::parse_leniently(text);
        for error in errors {
            log::warn!("{}: ignoring {error}", file.path.display());
        }
        Some(faults)
    }

    /// Whether the chip does not see the frame that begins.
    pub(super) fn frame_is_lost(&mut self) -> bool {
        let lost = self.losses.next_within(1).is_some();
        lost || self.faults.disconnected
    }

    /// Whether bits sent to the chip can flip.
    pub(super) fn flips_written(&self) -> bool {
        self.faults.flip_written > 0.0
    }

    /// Flips bits on their way to the chip.
    pub(super) fn flip_written(&mut self, bytes: &mut [u8]) {
        self.written_flips.flip(bytes);
    }

    /// Spoils bytes on their way from the chip.
    pub(super) fn spoil_read(&mut self, bytes: &mut [u8]) {
        if self.faults.stuck_low {
            bytes.fill(0);
        }
        self.read_flips.flip(bytes);
    }

    /// Counts an erase or program, and says whether power fails in it.
    pub(super) fn power_fails(&mut self) -> bool {
        self.operations += 1;
        self.faults.power_cut == Some(self.operations)
    }

    /// Fills `bytes` with what an interrupted operation leaves behind.
    pub(super) fn half_done(&mut self, bytes: &mut [u8]) {
        self.remains.fill(bytes);
    }
}

/// Independent events of one probability, found by skipping from one to the next.
#[derive(Debug)]
struct Events {
    probability: f64,
    random: SplitMix64,
    until_next: u64,
}

impl Events {
    fn new(probability: f64, random: SplitMix64) -> Self {
        let mut events = Self { probability, random, until_next: 0 };
        events.until_next = events.draw();
        events
    }

    /// The number of trials before the next event, geometrically distributed.
    fn draw(&mut self) -> u64 {
        if self.probability <= 0.0 {
            return u64::MAX;
        }
        let uniform = ((self.random.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let skipped = uniform.ln() / (-self.probability).ln_1p();
        #[expect(clippy::cast_possible_truncation, reason = "rounding down and saturating are meant")]
        let skipped = skipped as u64;
        skipped
    }

    /// The place of the next event among the next `trials`; the trials up to it, or all, are used up.
    fn next_within(&mut self, trials: u64) -> Option<u64> {
        if self.until_next < trials {
            let place = self.until_next;
            self.until_next = self.draw();
            return Some(place);
        }
        self.until_next -= trials;
        None
    }

    /// Flips each bit of `bytes` with the probability, in the order of the wire.
    fn flip(&mut self, bytes: &mut [u8]) {
        if self.probability <= 0.0 {
            return;
        }
        let bits = 8 * bytes.len() as u64;
        let mut done = 0;
        while let Some(skipped) = self.next_within(bits - done) {
            let bit = done + skipped;
            let index = usize::try_from(bit / 8).unwrap_or(usize::MAX);
            if let Some(byte) = bytes.get_mut(index) {
                *byte ^= 0x80 >> (bit % 8);
            }
            done = bit + 1;
        }
    }
}

/// A text file of fault words that is read again whenever it changed. A missing one is empty.
#[derive(Debug)]
struct FaultFile {
    path: PathBuf,
    /// The words, or why they could not be read.
    last_read: Result<String, String>,
    checked: Option<Instant>,
    /// Modification time and size of a file that will not change again under the same.
    settled: Option<(SystemTime, u64)>,
}

impl FaultFile {
    fn changed_text(&mut self) -> Option<&str> {
        let now = Instant::now();
        if self.checked.is_some_and(|checked| now.duration_since(checked) < FILE_CHECK_INTERVAL) {
            return None;
        }
        self.checked = Some(now);
        let stamp =
            fs::metadata(&self.path).and_then(|metadata| Ok((metadata.modified()?, metadata.len()))).ok();
        if stamp.is_some() && stamp == self.settled {
            return None;
        }
        self.settled =
            stamp.filter(|(modified, _)| modified.elapsed().is_ok_and(|age| age > FILE_SETTLES_IN));
        let read = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| error.to_string()),
        };
        if read == self.last_read {
            return None;
        }
        self.last_read = read;
        match &self.last_read {
            Ok(text) => Some(text),
            Err(error) => {
                log::warn!("{}: keeping the faults as they are: {error}", self.path.display());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flipped_bits(seed: u64, probability: f64, chunk: usize) -> Vec<u8> {
        let mut injector = Injector::new(Faults { flip_read: probability, seed, ..Faults::default() });
        let mut bytes = vec![0; 1 << 20];
        bytes.chunks_mut(chunk).for_each(|chunk| injector.spoil_read(chunk));
        bytes
    }

    #[test]
    fn bits_flip_at_the_asked_rate() {
        let flips = |probability| {
            let bytes = flipped_bits(1, probability, 4096);
            bytes.iter().map(|byte| byte.count_ones()).sum::<u32>()
        };
        // 2^23 bits: 8389 and 839 expected, with standard deviations of 92 and 29.
        assert!((8000..8800).contains(&flips(1e-3)), "{}", flips(1e-3));
        assert!((700..980).contains(&flips(1e-4)), "{}", flips(1e-4));
        assert_eq!(flips(0.0), 0);
        assert_eq!(flips(1.0), 1 << 23);
    }

    #[test]
    fn flips_depend_on_the_seed_and_not_on_how_reads_are_split() {
        assert_eq!(flipped_bits(7, 1e-4, 4096), flipped_bits(7, 1e-4, 1000));
        assert_ne!(flipped_bits(7, 1e-4, 4096), flipped_bits(8, 1e-4, 4096));
    }

    #[test]
    fn frames_are_lost_at_the_asked_rate() {
        let mut injector = Injector::new(Faults { lost: 0.01, ..Faults::default() });
        let lost = (0..100_000).filter(|_| injector.frame_is_lost()).count();
        // 1000 expected, with a standard deviation of 31.
        assert!((850..1150).contains(&lost), "{lost}");
    }

    #[test]
    fn power_fails_in_the_nth_operation_only() {
        let mut injector = Injector::new(Faults { power_cut: Some(3), ..Faults::default() });
        let fails: Vec<bool> = (0..5).map(|_| injector.power_fails()).collect();
        assert_eq!(fails, [false, false, true, false, false]);
    }

    /// Looks at the fault file until it has changed, or for far longer than that takes.
    fn wait_for_change(injector: &mut Injector) -> Option<Faults> {
        (0..5000).find_map(|_| {
            std::thread::sleep(FILE_CHECK_INTERVAL);
            injector.changed_faults()
        })
    }

    #[test]
    fn a_fault_file_is_followed_as_it_comes_changes_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("faults");
        let mut injector = Injector::new(Faults::default());
        injector.follow(path.clone());
        assert_eq!(injector.changed_faults(), None);
        fs::write(&path, "seed=1").unwrap();
        assert_eq!(wait_for_change(&mut injector), "seed=1".parse().ok());
        // Of the same size and perhaps within one tick of the file system's clock.
        fs::write(&path, "seed=2").unwrap();
        assert_eq!(wait_for_change(&mut injector), "seed=2".parse().ok());
        fs::remove_file(&path).unwrap();
        assert_eq!(wait_for_change(&mut injector), Some(Faults::default()));
    }
}
