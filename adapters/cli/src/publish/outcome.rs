//! How publishing ended.

use zaichik_tokio::Client;

use super::args::{Ack, Publish};
use super::input::Input;
use super::receipts::Receipts;
use crate::failure::{Failure, notice};
use crate::hints;

/// Reports the outcome: the first error, with the number of its message if it is about one, or what was stored.
pub(super) async fn conclude(
    args: &Publish,
    client: &Client,
    receipts: Receipts<'_>,
    failure: Option<(Option<u64>, Failure)>,
    input: &Input<'_>,
) -> Result<(), Failure> {
    let Some((number, failure)) = failure else {
        receipts.finish()?;
        if input.messages_read() > 0
            && !args.receipts.is_quiet()
            && let Some(hint) = hints::kept_for_nobody(client, &args.topic).await
        {
            notice(hint);
        }
        return Ok(());
    };
    let number = number.filter(|_| !args.txn);
    let prefix = number.map_or_else(String::new, |number| input.error_prefix(number));
    let rest = match (receipts.count(), args.ack) {
        (0, _) | (_, Ack::None) => String::new(),
        (stored, _) => format!("; stored: {stored} of {} messages read", input.messages_read()),
    };
    Err(failure.with_context(&prefix, &rest))
}
