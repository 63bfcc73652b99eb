//! A file descriptor kept for the moment when there are no others.

use std::io;

/// Without a free descriptor a connection can't even be refused: its peer would wait in the backlog. Giving the
/// spare one up makes room to accept it and close it.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "kept for its descriptor, not for its contents")]
pub(crate) struct Spare(Option<std::fs::File>);

impl Spare {
    pub(crate) fn new() -> Self {
        let mut spare = Self(None);
        spare.restore();
        spare
    }

    /// Makes room for one descriptor.
    pub(crate) fn release(&mut self) {
        self.0 = None;
    }

    /// Takes the descriptor back, if there is one; where there is no such file the server does without.
    #[expect(clippy::disallowed_types, reason = "kept for its descriptor, not for its contents")]
    pub(crate) fn restore(&mut self) {
        self.0 = std::fs::File::open("/dev/null").ok();
    }
}

/// Whether an accept failed because the process or the machine has no free descriptor.
pub(crate) fn out_of_descriptors(error: &io::Error) -> bool {
    /// ENFILE and EMFILE, the same numbers on every Unix.
    const FULL: [i32; 2] = [23, 24];
    cfg!(unix) && error.raw_os_error().is_some_and(|code| FULL.contains(&code))
}
