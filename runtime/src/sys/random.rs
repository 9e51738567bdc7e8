//! Random numbers from the kernel.

#![allow(unsafe_code, reason = "a system call that fills memory")]

use std::io;

/// Fills `bytes` with unpredictable random numbers.
///
/// # Errors
///
/// Returns an error if the kernel refuses `getrandom`.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the kernel writes at most the length of the slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_differ() {
        let mut pair = [[0; 16]; 2];
        pair.iter_mut().for_each(|bytes| super::fill(bytes).unwrap());
        assert_ne!(pair[0], pair[1]);
        assert_ne!(pair[0], [0; 16]);
    }
}
