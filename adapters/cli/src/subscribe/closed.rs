//! Notices that nobody reads standard output any more, before anything is written to it.

/// Waits until the reader of standard output is gone; never completes where the system does not report that, as for a file.
#[cfg(unix)]
pub(super) async fn output_closed() {
    // The thread waits until the process ends.
    let closed = tokio::task::spawn_blocking(wait).await;
    if !closed.is_ok_and(|closed| closed) {
        std::future::pending::<()>().await;
    }
}

/// Waits for an error of standard output; `false` if it cannot be waited for.
#[cfg(unix)]
fn wait() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = std::io::stdout();
    loop {
        // Errors are reported although nothing is asked for.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) => {
                return watched
                    .iter()
                    .any(|stdout| stdout.revents().intersects(PollFlags::ERR | PollFlags::HUP));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(not(unix))]
pub(super) async fn output_closed() {
    std::future::pending().await
}
