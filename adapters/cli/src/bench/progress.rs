//! A live line for each part of a run, on a terminal.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::number::as_f64;
use super::plan::Plan;
use super::run_state::RunState;
use super::text::rates;
use crate::failure::{Code, Failure};

/// How often the lines are redrawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// Progress lines, redrawn until this value is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    lines: Arc<Lines>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Lines {
    state: Arc<RunState>,
    publish: Option<Line>,
    deliver: Option<Line>,
}

/// One part of a run.
#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    /// Bytes of a message, if known in advance.
    size: Option<usize>,
    /// Whether the bar shows time instead of messages.
    is_time: bool,
}

impl Progress {
    /// Shows the progress of a run.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn start(state: &Arc<RunState>, plan: &Plan) -> Result<Self, Failure> {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let warmup = plan.warmup.unwrap_or_default();
        let messages = plan.messages().map(|messages| messages.saturating_add(warmup));
        let copies = plan.members.map_or_else(|| u64::from(plan.subs), |_| 1);
        let name = if plan.members.is_some() { "Acknowledge" } else { "Deliver" };
        let is_publisher = plan.size.is_some() && plan.pubs > 0;
        let publish = is_publisher.then(|| Line::new(&all, "Publish", plan, messages)).transpose()?;
        let delivered = messages.map(|messages| messages.saturating_mul(copies));
        let deliver = (copies > 0).then(|| Line::new(&all, name, plan, delivered)).transpose()?;
        let lines = Arc::new(Lines { state: Arc::clone(state), publish, deliver });
        let ticking = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(INTERVAL);
            loop {
                tick.tick().await;
                ticking.show();
            }
        });
        Ok(Self { lines, task })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        self.lines.show();
        for line in [&self.lines.publish, &self.lines.deliver].into_iter().flatten() {
            line.bar.abandon();
        }
        // Ends the last line, so that the results do not continue it when they are copied.
        drop(writeln!(io::stderr()));
    }
}

impl Lines {
    fn show(&self) {
        if let Some(line) = &self.publish {
            line.show(self.state.published());
        }
        if let Some(line) = &self.deliver {
            line.show(self.state.delivered());
        }
    }
}

impl Line {
    fn new(
        all: &MultiProgress,
        name: &'static str,
        plan: &Plan,
        messages: Option<u64>,
    ) -> Result<Self, Failure> {
        let time = plan.duration.filter(|_| messages.is_none());
        let time = time.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let template = if messages.or(time).is_some() {
            "{prefix:8} {bar:26.cyan} {percent:>3}%  {msg}"
        } else {
            "{prefix:8} {spinner} {msg}"
        };
        let style = ProgressStyle::with_template(template);
        let style = style.map_err(|error| Failure::new(Code::Other, error))?.progress_chars("━╾ ");
        let bar = messages.or(time).map_or_else(ProgressBar::no_length, ProgressBar::new);
        let bar = all.add(bar).with_style(style).with_prefix(name);
        Ok(Self { bar, size: plan.size, is_time: time.is_some() })
    }

    fn show(&self, messages: u64) {
        let elapsed = self.bar.elapsed();
        let position =
            if self.is_time { u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX) } else { messages };
        self.bar.set_position(self.bar.length().map_or(position, |length| position.min(length)));
        let per_second = as_f64(messages) / elapsed.as_secs_f64().max(0.001);
        let size = self.size.map(|size| as_f64(u64::try_from(size).unwrap_or(u64::MAX)));
        let mib = size.map(|size| per_second * size / f64::from(1 << 20));
        self.bar.set_message(rates(per_second, mib));
    }
}
