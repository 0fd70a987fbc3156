//! A chip that takes nothing: whoever writes is told, and nobody waits for ever.

mod model_chip;

use std::sync::mpsc::channel;
use std::time::Duration;

use model_chip::{ModelChip, mixed_contents};
use norfuse::spi::sim::faults::Faults;

/// More than is kept pending.
const WRITES: u32 = 64;
const LEN: u32 = 64 << 10;

/// No commit takes this long on a simulated chip; a write that is not answered by then never is.
const HANG: Duration = Duration::from_secs(120);

#[test]
fn more_than_can_be_kept_pending_for_a_chip_that_refuses_everything_is_an_error() {
    let old = mixed_contents();
    let chip = ModelChip::new(&old);
    let image = chip.start(None).unwrap();
    chip.model().set_faults(Faults { protect: Some(7), ..Faults::default() });
    let mut refused = 0;
    for write in 0..WRITES {
        let (sender, receiver) = channel();
        let address = write * LEN;
        let data: Vec<u8> =
            old[address as usize..(address + LEN) as usize].iter().map(|byte| !byte).collect();
        image.write(address, address, &data, Box::new(move |result| sender.send(result).unwrap()));
        refused += u32::from(receiver.recv_timeout(HANG).expect("an answer").is_err());
        let pending = image.report().pending_bytes;
        assert!(pending <= 3 << 20, "{pending} bytes are pending");
    }
    assert!((WRITES / 2..WRITES).contains(&refused), "{refused} of {WRITES} writes were refused");
    assert!(chip.contents() == old);
    // What was taken in is still there, although not on the chip.
    assert_eq!(model_chip::read(&image, 0..1).unwrap(), [!old[0]]);
}
