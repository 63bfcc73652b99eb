//! What a shared subscription has handed out, and its members.

use std::time::Duration;

use serde::Serialize;
use zaichik_tokio::{Client, ClientError, MemberInfo, RefusalCode, RequestError, SharedInfo};

use crate::failure::Failure;
use crate::printable::printable_line;
use crate::report;

/// A shared subscription, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Shared<'a> {
    by_key: bool,
    /// Null for any time.
    ack_deadline_us: Option<u64>,
    max_span: u32,
    in_flight: u64,
    waiting: u64,
    blocked: u64,
    /// Null unless that message keeps new ones from being handed out.
    blocked_by: Option<u64>,
    oldest_us: u64,
    member_count: u32,
    members: Vec<Member<'a>>,
}

/// A member, as JSON.
#[derive(Debug, Serialize)]
struct Member<'a> {
    client: &'a str,
    window: u32,
    in_flight: u32,
    oldest_us: u64,
    stuck: bool,
}

/// The state of the subscription, if it is shared.
pub(super) async fn shared_of(
    client: &Client,
    topic: &str,
    name: &str,
) -> Result<Option<SharedInfo>, Failure> {
    match client.shared_subscription(topic, name).await {
        Ok(info) => Ok(Some(info)),
        // It is exclusive, or the broker is too old to have shared ones.
        Err(ClientError::Request(RequestError::Refused { refusal, .. }))
            if matches!(refusal.code, RefusalCode::ModeDiffers | RefusalCode::Unsupported) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl<'a> Shared<'a> {
    pub(super) fn new(info: &'a SharedInfo) -> Self {
        Self {
            by_key: info.by_key,
            ack_deadline_us: info.ack_deadline.map(micros),
            max_span: info.max_span,
            in_flight: info.in_flight,
            waiting: info.waiting,
            blocked: info.blocked,
            blocked_by: info.blocked_by,
            oldest_us: micros(info.oldest),
            member_count: info.member_count,
            members: info.members.iter().map(Member::new).collect(),
        }
    }

    /// Its fields, for people.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("by key", if self.by_key { "yes" } else { "no" }.to_owned()),
            ("deadline", report::duration(self.ack_deadline_us.unwrap_or(u64::MAX))),
            ("max span", self.max_span.to_string()),
            ("in flight", self.in_flight.to_string()),
            ("waiting", self.waiting.to_string()),
            ("blocked", self.blocked.to_string()),
        ];
        pairs.extend(self.blocked_by.map(|offset| ("blocked by", offset.to_string())));
        pairs.push(("members", self.member_count.to_string()));
        pairs
    }

    /// Prints a line for each member.
    pub(super) fn print_members(&self) -> Result<(), Failure> {
        if self.members.is_empty() {
            return Ok(());
        }
        let rows = self.members.iter().map(|member| {
            vec![
                if member.client.is_empty() { "-".to_owned() } else { printable_line(member.client) },
                if member.stuck { "stuck" } else { "ok" }.to_owned(),
                member.window.to_string(),
                member.in_flight.to_string(),
                report::duration(member.oldest_us),
            ]
        });
        report::columns(&["MEMBER", "STATE", "WINDOW", "IN FLIGHT", "OLDEST"], 2, rows.collect())
    }
}

impl<'a> Member<'a> {
    fn new(member: &'a MemberInfo) -> Self {
        Self {
            client: &member.client,
            window: member.window,
            in_flight: member.in_flight,
            oldest_us: micros(member.oldest),
            stuck: member.stuck,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
