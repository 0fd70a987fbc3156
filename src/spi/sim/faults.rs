//! What can be made to go wrong with the simulated chip and its wires, and the words that say so.
//!
//! Only descriptions live here; the model makes them happen.

use std::str::FromStr;

use super::storage::CHIP_SIZE;

/// One bit of the memory array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The byte's address.
    pub address: u32,
    /// The bit, 0 being the least significant.
    pub bit: u8,
}

/// The faults of one chip. The default is none.
///
/// As text, in a file or a string, faults are words with blanks between them:
///
/// | word | meaning |
/// |---|---|
/// | `flip=1e-6` | the probability that a bit read from the chip is flipped |
/// | `flip-written=1e-6` | the same for a bit sent to the chip, be it opcode, address or data |
/// | `lost=1e-5` | the probability that the chip does not see a period of chip select |
/// | `disconnected` | the chip sees nothing, all reads are FF |
/// | `stuck-low` | all reads are 00; the chip sees everything |
/// | `stuck-busy` | BUSY is set for ever |
/// | `weak-program=0x1234.3` | bit 3 of the byte at 0x1234 cannot be programmed to 0 |
/// | `weak-erase=0x4000.0` | bit 0 of the byte at 0x4000 cannot be erased to 1 |
/// | `protect=7` | the block protection bits BP2 to BP0 are 7, as a chip may come from its board |
/// | `power-cut=12` | power fails in the 12th erase or program of the memory array from now, which is left half done |
/// | `seed=7` | begins another sequence of random choices |
///
/// The `weak-` words may be repeated. The same words with the same seed and the same frames do the
/// same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Probability that a bit read from the chip is flipped.
    pub flip_read: f64,
    /// Probability that a bit sent to the chip is flipped.
    pub flip_written: f64,
    /// Probability that the chip does not see a period of asserted chip select.
    pub lost: f64,
    /// The chip sees nothing and its output floats high. Power stays on.
    pub disconnected: bool,
    /// The chip's output is stuck at 0.
    pub stuck_low: bool,
    /// The chip is busy for ever.
    pub stuck_busy: bool,
    /// Cells that stay as they are when they should be programmed to 0.
    pub weak_program: Vec<Cell>,
    /// Cells that stay as they are when they should be erased to 1.
    pub weak_erase: Vec<Cell>,
    /// What the non-volatile block protection bits BP2 to BP0 are set to, if to anything.
    pub protect: Option<u8>,
    /// Power fails in this erase or program of the memory array, counted from 1 when the faults are set. It is left half
    /// done, and the chip is dead until power is cycled or other faults are set.
    pub power_cut: Option<u64>,
    /// Seed of all random choices.
    pub seed: u64,
}

/// A word that describes no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The word is not one of those that [`Faults`] lists.
    #[error("unknown fault \"{0}\"")]
    UnknownWord(String),
    /// The word's value is missing, out of range or not a number.
    #[error("\"{word}\" should be {expected}")]
    Value {
        /// The word with its value.
        word: String,
        /// What the value should be.
        expected: &'static str,
    },
}

impl Faults {
    /// Reads the words that can be understood, and says what is wrong with each of the others.
    pub fn parse_leniently(text: &str) -> (Self, Vec<FaultError>) {
        let mut faults = Self::default();
        let errors = text.split_whitespace().filter_map(|word| faults.apply(word).err()).collect();
        (faults, errors)
    }

    fn apply(&mut self, word: &str) -> Result<(), FaultError> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let expect = |expected| FaultError::Value { word: word.to_owned(), expected };
        let probability = || {
            value
                .and_then(|value| value.parse().ok())
                .filter(|p| (0.0..=1.0).contains(p))
                .ok_or_else(|| expect("followed by = and a probability from 0 to 1"))
        };
        let cell = || {
            value.and_then(parse_cell).ok_or_else(|| expect("like weak-program=0x1234.3, with bit 0 to 7"))
        };
        let number =
            || value.and_then(|value| value.parse().ok()).ok_or_else(|| expect("followed by = and a number"));
        let switch = || value.is_none().then_some(true).ok_or_else(|| expect("a word without a value"));
        match name {
            "flip" => self.flip_read = probability()?,
            "flip-written" => self.flip_written = probability()?,
            "lost" => self.lost = probability()?,
            "disconnected" => self.disconnected = switch()?,
            "stuck-low" => self.stuck_low = switch()?,
            "stuck-busy" => self.stuck_busy = switch()?,
            "weak-program" => self.weak_program.push(cell()?),
            "weak-erase" => self.weak_erase.push(cell()?),
            "protect" => match number()? {
                bits @ 0..=7 => self.protect = u8::try_from(bits).ok(),
                _ => return Err(expect("followed by = and a number from 0 to 7")),
            },
            "power-cut" => match number()? {
                0 => return Err(expect("counted from 1")),
                count => self.power_cut = Some(count),
            },
            "seed" => self.seed = number()?,
            _ => return Err(FaultError::UnknownWord(word.to_owned())),
        }
        Ok(())
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut faults = Self::default();
        text.split_whitespace().try_for_each(|word| faults.apply(word))?;
        Ok(faults)
    }
}

/// Reads `0x1234.3` or `4660.3`.
fn parse_cell(text: &str) -> Option<Cell> {
    let (address, bit) = text.split_once('.')?;
    let address = match address.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => address.parse().ok()?,
    };
    let bit = bit.parse().ok()?;
    (address < CHIP_SIZE && bit < 8).then_some(Cell { address, bit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_are_no_faults() {
        assert_eq!(" \n".parse(), Ok(Faults::default()));
    }

    #[test]
    fn every_word_is_understood() {
        let text = "flip=1e-6 flip-written=0.5 lost=1e-5 disconnected stuck-low\nstuck-busy seed=7 \
                    weak-program=0x1234.3 weak-program=16.7 weak-erase=0x4000.0 protect=5 power-cut=12";
        let expected = Faults {
            flip_read: 1e-6,
            flip_written: 0.5,
            lost: 1e-5,
            disconnected: true,
            stuck_low: true,
            stuck_busy: true,
            weak_program: vec![Cell { address: 0x1234, bit: 3 }, Cell { address: 16, bit: 7 }],
            weak_erase: vec![Cell { address: 0x4000, bit: 0 }],
            protect: Some(5),
            power_cut: Some(12),
            seed: 7,
        };
        assert_eq!(text.parse(), Ok(expected));
    }

    #[test]
    fn a_wrong_word_is_an_error_that_names_it() {
        let wrong = [
            "flop=1",
            "flip",
            "flip=2",
            "flip=-1",
            "flip=NaN",
            "lost=",
            "disconnected=1",
            "seed=x",
            "power-cut=0",
            "weak-erase=0x4000",
            "weak-erase=0x4000.8",
            "weak-erase=0x1000000.0",
            "FLIP=1",
        ];
        for word in wrong {
            let error = word.parse::<Faults>().unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn lenient_parsing_keeps_the_good_words() {
        let (faults, errors) = Faults::parse_leniently("nonsense stuck-busy flip=2");
        assert_eq!(faults, Faults { stuck_busy: true, ..Faults::default() });
        assert_eq!(errors.len(), 2);
    }
}
