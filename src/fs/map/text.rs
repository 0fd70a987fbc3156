//! Words and numbers as they stand in the picture.

/// A longer name is cut, in characters.
const LONGEST_NAME: usize = 22;

pub(super) fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

/// A size as people say it.
pub(super) fn size_text(bytes: u32) -> String {
    const KIB: u32 = 1 << 10;
    const MIB: u32 = 1 << 20;
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => rounded(f64::from(bytes) / f64::from(KIB), "KiB"),
        MIB.. => rounded(f64::from(bytes) / f64::from(MIB), "MiB"),
    }
}

/// With one decimal, unless that is 0.
fn rounded(number: f64, unit: &str) -> String {
    format!("{} {unit}", (number * 10.0).round() / 10.0)
}

/// Text as XML has it. What XML cannot have at all is shown as what cannot be shown.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            control if control.is_control() => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names_are_short() {
        for (bytes, text) in [
            (17, "17 bytes"),
            (4096, "4 KiB"),
            (5000, "4.9 KiB"),
            (16 << 20, "16 MiB"),
            (0xdb_0000, "13.7 MiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
        assert_eq!(shortened("rootfs"), "rootfs");
        assert_eq!(shortened(&"ü".repeat(23)), format!("{}…", "ü".repeat(21)));
    }
}
