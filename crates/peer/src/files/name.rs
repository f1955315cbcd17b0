//! Names that are never written to a disk or read from one, whoever asks.

use portolan_protocol::Limits;

/// Bytes that one part of a path may have on every file system of today.
const PART_MAX: usize = 255;

/// Names that are devices on Windows, with any ending (learn.microsoft.com, "Naming Files").
const DEVICES: &[&str] = &[
    "con", "prn", "aux", "nul", "conin$", "conout$", "com0", "com1", "com2", "com3", "com4",
    "com5", "com6", "com7", "com8", "com9", "lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6",
    "lpt7", "lpt8", "lpt9",
];

/// Checks a name of one part: it means the same on every system and hides nothing.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => return Err("a name is needed"),
        "." | ".." => return Err("it leads out of the directory"),
        _ => {}
    }
    if name.len() > PART_MAX {
        return Err("a name has at most 255 bytes");
    }
    if name.contains(['/', '\\']) {
        return Err("a name is one part of a path");
    }
    if name.starts_with('.') {
        return Err("hidden files are not shared or received");
    }
    if name.chars().any(|c| c.is_control() || "<>:\"|?*".contains(c) || is_invisible(c)) {
        return Err("it has a character that is not allowed in names of files");
    }
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return Err("it begins or ends with a space, or ends with a dot");
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_lowercase();
    if DEVICES.contains(&stem.as_str()) || is_superscript_device(&stem) {
        return Err("it is the name of a device on Windows");
    }
    Ok(())
}

/// Checks a path below what is shared: parts with `/` between them, each as above.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() > Limits::V1.short_text as usize {
        return Err("the path is too long");
    }
    if path.starts_with('/') {
        return Err("the path must be below what is shared");
    }
    path.split('/').try_for_each(check_name)
}

/// Characters that change the direction or the shape of what people read.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// `COM¹` is a device too.
fn is_superscript_device(stem: &str) -> bool {
    ["com", "lpt"].iter().any(|device| {
        stem.strip_prefix(device).is_some_and(|digit| matches!(digit, "¹" | "²" | "³"))
    })
}

#[cfg(test)]
mod tests {
    use super::{check_name, check_path};

    #[test]
    fn ordinary_names_pass() {
        for name in
            ["a", "song.mp3", "Łódź 2024.txt", "李.txt", "com.txt", "console", "a..b", "x.tar.gz"]
        {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_path("music/old/song.mp3"), Ok(()));
    }

    #[test]
    fn names_that_lead_out_hide_or_mean_a_device_are_refused() {
        let long = "n".repeat(300);
        let rows = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc/passwd",
            ".ssh",
            ".portolan-x",
            "con",
            "CON",
            "nul.txt",
            "COM1",
            "com1.log",
            "lpt9",
            "com¹",
            "aux .txt",
            "C:",
            "C:\\x",
            "a:b",
            "a\0b",
            "a\nb",
            "a\u{1b}[2J",
            "trailing.",
            "trailing ",
            " leading",
            "evil\u{202e}gpj.exe",
            long.as_str(),
        ];
        for name in rows {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_part_of_a_path_is_checked() {
        for path in
            ["/a", "a//b", "a/", "a/../b", "a/./b", "a/.git/config", "a/nul", "..", "a\\..\\b"]
        {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"a/".repeat(600)).is_err());
    }
}
