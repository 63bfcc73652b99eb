//! Commands on a pseudo-terminal.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

/// The two ends of a pseudo-terminal: the user's, and the command's.
fn terminal() -> (OwnedFd, OwnedFd) {
    let user = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    rustix::pty::grantpt(&user).expect("granted");
    rustix::pty::unlockpt(&user).expect("unlocked");
    let name = rustix::pty::ptsname(&user, Vec::new()).expect("its name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let command = rustix::fs::open(name, flags, Mode::empty()).expect("its other end");
    (user, command)
}

/// Runs a command with all three streams on a terminal; returns its exit code and the screen.
pub(crate) fn on_a_terminal(mut command: Command, typed: &str) -> (Option<i32>, String) {
    let (user, end) = terminal();
    let stream = || Stdio::from(end.try_clone().expect("a copy"));
    command.stdin(stream()).stdout(stream()).stderr(stream());
    let mut process = command.spawn().expect("it starts");
    // Only the command holds its end, so the screen ends when the command exits.
    drop((command, end));
    assert_eq!(rustix::io::write(&user, typed.as_bytes()), Ok(typed.len()));
    let mut screen = Vec::new();
    let mut part = [0; 4_096];
    // Linux returns EIO when the other end is closed.
    while let Ok(count @ 1..) = rustix::io::read(&user, &mut part) {
        screen.extend_from_slice(&part[..count]);
    }
    let code = process.wait().expect("it exits").code();
    (code, String::from_utf8(screen).expect("text").replace('\r', ""))
}
