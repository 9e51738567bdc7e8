//! The backtrace of a crash, made of the addresses that the worker has recorded.
//!
//! Names are looked up when the text is requested, because reading debug information takes a while. The files are
//! mapped at other addresses in the worker than in this process. An address is therefore converted to a file and an
//! offset, and these to the address at which this process has mapped the file.

use std::fmt::Write;
use std::sync::OnceLock;

/// The frames of a crash.
#[derive(Debug)]
pub(crate) struct NativeTrace {
    frames: Vec<u64>,
    maps: String,
    text: OnceLock<String>,
}

/// A mapping of a file, as `/proc/self/maps` lists it.
struct MappedFile<'a> {
    start: u64,
    end: u64,
    offset: u64,
    /// Whether the mapping is executable.
    is_code: bool,
    path: &'a str,
}

impl<'a> MappedFile<'a> {
    /// Reads a line: `start-end flags offset device inode path`.
    fn read(line: &'a str) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let (field, after) = rest.split_once(' ')?;
            rest = after.trim_start();
            Some(field)
        };
        let (start, end) = field()?.split_once('-')?;
        let is_code = field()?.contains('x');
        let offset = field()?;
        let (_device, _inode) = (field()?, field()?);
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (number(start)?, number(end)?, number(offset)?);
        let read = MappedFile { start, end, offset, is_code, path: rest };
        (start <= end && !rest.is_empty()).then_some(read)
    }

    fn has(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

impl NativeTrace {
    pub(crate) fn new(frames: Vec<u64>, maps: String) -> Self {
        NativeTrace { frames, maps, text: OnceLock::new() }
    }

    /// Returns the frames as text, in the format of the standard library.
    pub(super) fn text(&self) -> &str {
        self.text.get_or_init(|| self.written())
    }

    fn written(&self) -> String {
        let own_maps = crate::sys::read_text("/proc/self/maps").unwrap_or_default();
        let own: Vec<MappedFile<'_>> = own_maps.lines().filter_map(MappedFile::read).collect();
        let its: Vec<MappedFile<'_>> = self.maps.lines().filter_map(MappedFile::read).collect();
        let mut text = String::new();
        for (number, &frame) in self.frames.iter().enumerate() {
            let place = its.iter().find(|file| file.has(frame));
            let place = place.map(|file| (file.path, frame - file.start + file.offset));
            let here = place.and_then(|(path, offset)| address_here(&own, path, offset));
            if here.is_some_and(|here| write_symbols(&mut text, number, here)) {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = match place {
                Some((path, offset)) => {
                    let name = path.rsplit('/').next().unwrap_or(path);
                    writeln!(text, "{number:4}: {name}+{offset:#x}")
                }
                None => writeln!(text, "{number:4}: {frame:#x}"),
            };
        }
        text
    }
}

/// Returns the address at which this process has mapped an offset of the code of a file.
///
/// The file may be mapped as data as well, because the lookup of names maps the executable as a whole.
fn address_here(own: &[MappedFile<'_>], path: &str, offset: u64) -> Option<u64> {
    let has = |file: &&MappedFile<'_>| {
        let range = file.offset..file.offset + (file.end - file.start);
        file.is_code && file.path == path && range.contains(&offset)
    };
    own.iter().find(has).map(|file| file.start + (offset - file.offset))
}

/// Writes the functions at an address of this process, the inlined ones first; returns false if they are not known.
#[cfg(feature = "backtrace")]
fn write_symbols(text: &mut String, number: usize, address: u64) -> bool {
    let before = text.len();
    ::backtrace::resolve(address as usize as *mut std::ffi::c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        let _ = writeln!(text, "{number:4}: {name:#}");
        if let Some(file) = symbol.filename() {
            let _ = write!(text, "             at {}", file.display());
            let _ = symbol.lineno().map(|line| write!(text, ":{line}"));
            let _ = symbol.colno().map(|column| write!(text, ":{column}"));
            text.push('\n');
        }
    });
    text.len() > before
}

#[cfg(not(feature = "backtrace"))]
fn write_symbols(_: &mut String, _: usize, _: u64) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        7f0000000000-7f0000002000 r-xp 00001000 fe:00 1234                       /lib/a b.so\n\
        7f0000003000-7f0000004000 rw-p 00000000 00:00 0 \n\
        nonsense\n\
        7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0                          [part]\n";

    #[test]
    fn addresses_are_told_by_their_files() {
        let frames = vec![0x7f00_0000_0010, 0x7f00_0000_3000, 0x7ffc_0000_0001, 0];
        let trace = NativeTrace::new(frames, MAPS.to_owned());
        let lines: Vec<_> = trace.text().lines().map(str::trim).collect();
        assert_eq!(lines, ["0: a b.so+0x1010", "1: 0x7f0000003000", "2: [part]+0x1", "3: 0x0"]);
    }

    #[test]
    fn a_file_is_found_where_it_is_code() {
        let maps = "\
            7f0000000000-7f0000009000 r--p 00000000 fe:00 1234 /bin/a\n\
            7f0000010000-7f0000012000 r-xp 00001000 fe:00 1234 /bin/a\n";
        let own: Vec<_> = maps.lines().filter_map(MappedFile::read).collect();
        assert_eq!(address_here(&own, "/bin/a", 0x1010), Some(0x7f00_0001_0010));
    }

    #[test]
    #[cfg_attr(miri, ignore = "has no /proc")]
    fn a_file_is_found_where_this_process_has_it() {
        let here = a_file_is_found_where_this_process_has_it as fn() as usize as u64;
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        let own: Vec<_> = text.lines().filter_map(MappedFile::read).collect();
        let file = own.iter().find(|file| file.has(here)).unwrap();
        let offset = here - file.start + file.offset;
        assert_eq!(address_here(&own, file.path, offset), Some(here));
        assert_eq!(address_here(&own, "/no/file", offset), None);
    }
}
