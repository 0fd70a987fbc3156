//! The simulated chip.
