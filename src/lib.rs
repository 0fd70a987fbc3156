//! norfuse mounts an SPI NOR flash chip as a directory.

pub mod chip;
pub mod image;
pub mod spi;
