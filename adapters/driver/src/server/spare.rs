//! A spare file descriptor, for when the process has run out of them.

use std::io;

/// Without a free descriptor a connection can't even be refused: its peer would wait in the backlog. Releasing
/// the spare one makes room to accept and close the connection.
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

    /// Takes the descriptor back, if possible; otherwise the server has no spare.
    #[expect(clippy::disallowed_types, reason = "kept for its descriptor, not for its contents")]
    pub(crate) fn restore(&mut self) {
        self.0 = std::fs::File::open("/dev/null").ok();
    }
}

/// Whether an accept failed because the process or the machine has no free descriptor.
pub(crate) fn out_of_descriptors(error: &io::Error) -> bool {
    /// ENFILE and EMFILE, which have the same numbers on every Unix.
    const FULL: [i32; 2] = [23, 24];
    cfg!(unix) && error.raw_os_error().is_some_and(|code| FULL.contains(&code))
}
