//! Finding the fastest clock at which a chip reads the same as at a slow one. Only reads; what a mismatch in later use
//! means is the callers' business.

use super::error::Error;
use super::identify::{self, SLOW_CLOCK};
use super::part::JedecId;
use super::{Chip, ReadMode};
use crate::trouble::Trouble;

/// The clocks that are tried, in Hz. The first is the one that the others are judged by.
pub const LADDER: [u32; 6] = [SLOW_CLOCK, 4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000];

/// At each clock as many readings as it has times this, in Hz: every step has the same time on the wire.
const HZ_PER_READING: u32 = 2_000_000;

/// Fewest and most readings at a clock that is no step of the ladder.
const FEWEST_READINGS: u32 = 2;
const MOST_READINGS: u32 = 32;

/// How many places, evenly spread over the chip, are looked at for varied data, and how many bytes of each.
const SAMPLED_PLACES: u32 = 32;
const SAMPLE_LEN: usize = 128;

/// Data is read at the most varied of these places, and so many bytes there: 2 KiB in a reading.
const DATA_PLACES: usize = 4;
const DATA_LEN: usize = 512;

/// A clock that the user has chosen is used whatever comes of trying it, so less time is spent on that.
const SAMPLE_LEN_AT_FIXED_CLOCK: usize = 32;
const DATA_PLACES_AT_FIXED_CLOCK: usize = 1;

/// How much of the SFDP space is in a reading, in bytes.
const LONGEST_SFDP: usize = 256;

/// JESD216 has 5Ah work up to 50 MHz.
const SFDP_CLOCK_LIMIT: u32 = 50_000_000;

/// Which clock to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speed {
    /// The fastest step of [`LADDER`] at which the chip reads the same as at 1 MHz.
    #[default]
    Auto,
    /// This one, in Hz.
    Fixed(u32),
}

impl Speed {
    /// The clock to begin with, in Hz: slow enough for long wires and bad clips.
    pub fn starting_clock(self) -> u32 {
        match self {
            Self::Auto => SLOW_CLOCK,
            Self::Fixed(hz) => hz.min(SLOW_CLOCK),
        }
    }
}

/// How the clock was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calibration {
    /// Whether norfuse chose it.
    pub auto: bool,
    /// The slowest clock at which the chip read differently or the programmer refused, in Hz.
    pub first_failure_hz: Option<u32>,
}

/// What one reading consists of, besides the JEDEC id and the status registers.
struct Probe {
    sfdp_len: usize,
    places: Vec<u32>,
}

impl Chip {
    /// How the clock was chosen.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Goes down to the next slower step of [`LADDER`], and tells it in Hz; none below 1 MHz.
    pub fn step_down(&mut self) -> Option<u32> {
        let clock = self.wire.clock();
        let slower = LADDER.into_iter().rev().find(|&step| step < clock)?;
        match self.wire.set_clock(slower) {
            Ok(()) => Some(slower),
            Err(error) => {
                log::warn!("the clock stays at {clock} Hz: {}", crate::error_text(&error));
                None
            }
        }
    }

    /// Chooses and sets the clock. A fixed one is used even when the chip reads differently at it.
    pub(super) fn calibrate(&mut self, speed: Speed) -> Result<(), Error> {
        let start = speed.starting_clock();
        self.wire.set_clock(start)?;
        let probe = self.choose_probe(speed)?;
        let reference = self.take_reading(&probe)?;
        let again = self.take_reading(&probe)?;
        for reading in [&reference, &again] {
            if let [a, b, c, ..] = **reading {
                if JedecId([a, b, c]) != self.id {
                    return Err(Error::UnstableId { first: self.id, second: JedecId([a, b, c]) });
                }
            }
        }
        let is_stable = reference == again;
        if !is_stable {
            log::warn!(
                "the chip reads differently twice even at {start} Hz: shorten the wires, reseat the clip; {}",
                Trouble::DumpsDiffer
            );
        }
        let first_failure_hz = match speed {
            _ if !is_stable => Some(start),
            Speed::Auto => self.climb(&probe, &reference, u32::MAX)?,
            Speed::Fixed(hz) => self.probe_fixed(&probe, &reference, hz)?,
        };
        self.calibration = Calibration { auto: speed == Speed::Auto, first_failure_hz };
        match speed {
            Speed::Auto => Ok(()),
            Speed::Fixed(hz) => self.set_clock(hz),
        }
    }

    /// Tries the steps below `limit` until one fails, which is returned. The clock is then the last good one.
    fn climb(&mut self, probe: &Probe, reference: &[u8], limit: u32) -> Result<Option<u32>, Error> {
        let start = self.wire.clock();
        let mut good = start;
        for step in LADDER.into_iter().filter(|&step| start < step && step < limit) {
            if let Err(error) = self.wire.set_clock(step) {
                log::info!("no clock of {step} Hz: {}", crate::error_text(&error));
                return Ok(Some(step));
            }
            if !self.reads_alike(probe, reference)? {
                self.wire.set_clock(good)?;
                return Ok(Some(step));
            }
            good = step;
        }
        Ok(None)
    }

    fn probe_fixed(&mut self, probe: &Probe, reference: &[u8], hz: u32) -> Result<Option<u32>, Error> {
        let start = self.wire.clock();
        let limited = self.limited(hz);
        self.wire.set_clock(limited)?;
        if self.reads_alike(probe, reference)? {
            return Ok(None);
        }
        self.wire.set_clock(start)?;
        let slower_failure = self.climb(probe, reference, limited)?;
        log::warn!(
            "at {limited} Hz the chip reads differently than at {start} Hz; the highest speed at which it does not is \
             {} Hz",
            self.wire.clock()
        );
        Ok(slower_failure.or(Some(limited)))
    }

    /// Whether all readings at the present clock agree with the reference.
    fn reads_alike(&mut self, probe: &Probe, reference: &[u8]) -> Result<bool, Error> {
        let readings = (self.wire.clock() / HZ_PER_READING).clamp(FEWEST_READINGS, MOST_READINGS);
        for _ in 0..readings {
            if self.take_reading(probe)? != reference {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_reading(&mut self, probe: &Probe) -> Result<Vec<u8>, Error> {
        let mut reading = self.wire.jedec_id()?.0.to_vec();
        reading.extend(identify::read_status(&mut self.wire, self.part.registers)?.0);
        if probe.sfdp_len > 0 {
            let sfdp = extend_by(&mut reading, probe.sfdp_len);
            identify::read_sfdp_space(&mut self.wire, sfdp)?;
        }
        for &place in &probe.places {
            self.read_as_chosen(place, extend_by(&mut reading, DATA_LEN))?;
        }
        Ok(reading)
    }

    /// On a blank chip no place is varied; the id and SFDP are all that there is then. Reading also settles the read mode.
    fn choose_probe(&mut self, speed: Speed) -> Result<Probe, Error> {
        let sfdp_len = match speed {
            Speed::Fixed(hz) if hz > SFDP_CLOCK_LIMIT => 0,
            _ => self.sfdp.as_ref().map_or(0, |sfdp| sfdp.len().min(LONGEST_SFDP)),
        };
        let (sample_len, data_places) = match speed {
            Speed::Auto => (SAMPLE_LEN, DATA_PLACES),
            Speed::Fixed(_) => (SAMPLE_LEN_AT_FIXED_CLOCK, DATA_PLACES_AT_FIXED_CLOCK),
        };
        let stride = self.part.size / SAMPLED_PLACES;
        let mut samples = Vec::new();
        for place in (0..SAMPLED_PLACES).map(|index| index * stride) {
            let mut sample = [0; SAMPLE_LEN];
            let sample = &mut sample[..sample_len];
            self.read(place, sample)?;
            let changes = sample.windows(2).filter(|pair| pair[0] != pair[1]).count();
            if changes > 0 {
                samples.push((changes, place));
            }
        }
        samples.sort_by_key(|&(changes, _)| std::cmp::Reverse(changes));
        Ok(Probe {
            sfdp_len,
            places: samples.into_iter().take(data_places).map(|(_, place)| place).collect(),
        })
    }

    /// `hz`, held at the limit of 03h while that is how data is read.
    pub(super) fn limited(&self, hz: u32) -> u32 {
        if self.read_mode == ReadMode::Fast { hz } else { hz.min(self.part.read_clock_limit) }
    }
}

/// The `len` bytes that `reading` grows by.
fn extend_by(reading: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let start = reading.len();
    reading.resize(start + len, 0);
    &mut reading[start..]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chip::part::READ_CLOCK_LIMIT;
    use crate::chip::testing::{Tampered, varied};
    use crate::spi::sim::model::{Configuration, Model};
    use crate::spi::sim::storage::Storage;
    use crate::spi::sim::{Pace, Simulated};

    fn written() -> Simulated {
        simulated(Storage::memory(varied()), Configuration::default())
    }

    fn blank() -> Simulated {
        simulated(Storage::erased(), Configuration::default())
    }

    fn simulated(storage: Storage, configuration: Configuration) -> Simulated {
        Simulated::from_model(Model::new(storage, configuration), Pace::Virtual)
    }

    /// A chip on a wire that flips a bit of each read of `longer_than` bytes above `limit_hz`.
    fn identify_above(
        bus: Simulated,
        limit_hz: u32,
        longer_than: usize,
        speed: Speed,
    ) -> Result<Chip, Error> {
        let bus = Tampered::new(bus).with_reads(move |clock_hz, data| {
            if clock_hz > limit_hz && data.len() > longer_than {
                data[longer_than] ^= 0x10;
            }
        });
        Chip::identify(Box::new(bus), speed)
    }

    #[test]
    fn a_good_chip_is_identified_and_runs_at_the_highest_step_within_200_ms() {
        for bus in [written(), blank()] {
            let model = bus.share();
            let chip = Chip::identify(Box::new(bus), Speed::Auto).unwrap();
            assert_eq!(chip.clock(), 32_000_000);
            assert_eq!(chip.calibration(), Calibration { auto: true, first_failure_hz: None });
            assert!(chip.wire.now() < Duration::from_millis(200), "{:?}", chip.wire.now());
            assert_eq!(model.lock().violations().total(), 0);
        }
    }

    #[test]
    fn a_chip_at_a_given_clock_is_ready_within_40_ms() {
        for hz in [8_000_000, 32_000_000, 104_000_000] {
            let chip = Chip::identify(Box::new(written()), Speed::Fixed(hz)).unwrap();
            assert!(chip.wire.now() < Duration::from_millis(40), "{:?} at {hz} Hz", chip.wire.now());
        }
    }

    #[test]
    fn the_clock_is_one_step_below_the_first_that_fails() {
        for (good, failing) in LADDER.into_iter().zip(LADDER.into_iter().skip(1)) {
            for longer_than in [0, 100, 400] {
                let chip = identify_above(written(), good, longer_than, Speed::Auto).unwrap();
                assert_eq!(chip.clock(), good);
                assert_eq!(chip.calibration().first_failure_hz, Some(failing));
                assert_eq!(chip.read_mode(), ReadMode::Fast);
            }
        }
    }

    #[test]
    fn a_blank_chip_is_judged_by_its_ids_and_sfdp() {
        let chip = identify_above(blank(), 16_000_000, 100, Speed::Auto).unwrap();
        assert_eq!(chip.clock(), 16_000_000);
    }

    #[test]
    fn a_wire_that_is_noisy_at_1_mhz_stays_there() {
        let mut data_reads = 0;
        let bus = Tampered::new(written()).with_reads(move |_, data| {
            if data.len() == DATA_LEN {
                data_reads += 1;
                data[0] ^= u8::from(data_reads > DATA_PLACES);
            }
        });
        let chip = Chip::identify(Box::new(bus), Speed::Auto).unwrap();
        assert_eq!(chip.clock(), SLOW_CLOCK);
        assert_eq!(chip.calibration(), Calibration { auto: true, first_failure_hz: Some(SLOW_CLOCK) });
    }

    #[test]
    fn a_fixed_clock_is_used_even_where_it_fails_and_what_fails_is_known() {
        let chip = identify_above(written(), 10_000_000, 100, Speed::Fixed(20_000_000)).unwrap();
        assert_eq!(chip.clock(), 20_000_000);
        assert_eq!(chip.calibration(), Calibration { auto: false, first_failure_hz: Some(16_000_000) });
        for hz in [500_000, 20_000_000, 104_000_000] {
            let bus = written();
            let model = bus.share();
            let chip = Chip::identify(Box::new(bus), Speed::Fixed(hz)).unwrap();
            assert_eq!(chip.clock(), hz);
            assert_eq!(chip.calibration(), Calibration { auto: false, first_failure_hz: None });
            assert_eq!(model.lock().violations().total(), 0);
        }
    }

    #[test]
    fn a_chip_without_fast_read_is_never_clocked_above_50_mhz() {
        let configuration = Configuration { fast_read_dummies: 2, ..Configuration::default() };
        let bus = simulated(Storage::memory(varied()), configuration);
        let model = bus.share();
        let chip = Chip::identify(Box::new(bus), Speed::Fixed(104_000_000)).unwrap();
        assert_eq!((chip.read_mode(), chip.clock()), (ReadMode::FastDiffers, READ_CLOCK_LIMIT));
        assert_eq!(model.lock().violations().total(), 0);
    }

    #[test]
    fn stepping_down_ends_at_1_mhz() {
        let mut chip = Chip::identify(Box::new(written()), Speed::Fixed(20_000_000)).unwrap();
        let steps: Vec<_> = std::iter::from_fn(|| chip.step_down()).collect();
        assert_eq!(steps, [16_000_000, 8_000_000, 4_000_000, 1_000_000]);
        assert_eq!(chip.clock(), 1_000_000);
    }
}
