//! norfuse mounts an SPI NOR flash chip as a directory.

pub mod spi;
