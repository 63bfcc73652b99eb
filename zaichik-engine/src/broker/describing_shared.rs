//! The description of a shared subscription and its members (rule G11).

use zaichik_proto::{Item, Items, MemberItem, Refusal, RefusalCode, SharedState, Timestamp, micros};

use super::Broker;
use crate::group::Group;
use crate::id::SubKey;

/// Maximum members of an answer, and bytes, and records that they hold, at which their list ends.
const MAX_MEMBERS: usize = 1_024;
const MAX_BYTES: usize = 32 << 10;
const MAX_HELD: u64 = 16_384;

/// Records and members that are looked at in a step.
const PER_STEP: u64 = 8;

impl Broker {
    /// Describes a shared subscription; its members are written to `bytes`.
    pub(crate) fn describe_shared<'a>(
        &mut self,
        topic: &[u8],
        name: &str,
        bytes: &'a mut Vec<u8>,
    ) -> Result<(SharedState, Items<'a, MemberItem<'a>>), Refusal> {
        bytes.clear();
        let id = self.topics.known(topic)?;
        let key =
            self.subscriptions.find_durable(id, name).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        let Some(shared) = &self.subscriptions[key].shared else {
            return Err(Refusal::new(RefusalCode::ModeDiffers));
        };
        let running = self.subscriptions.running(self.now);
        let group = &shared.group;
        let state = SharedState {
            by_key: group.options.by_key,
            ack_deadline_micros: match group.options.ack_deadline_micros {
                u64::MAX => 0,
                micros => micros,
            },
            max_span: group.options.max_span,
            rewind: group.rewind(),
            cursor: group.cursor(),
            next: group.next().offset,
            end: self.topics[id].end(),
            in_flight: group.held(),
            waiting: group.back(),
            blocked: group.blocked(),
            blocked_by: if group.is_at_span() { group.cursor() } else { u64::MAX },
            oldest_micros: group.oldest().map_or(0, |since| micros(running.since(since))),
            members: shared.members,
        };
        let (listed, held) = self.list_members((key, group), running, bytes);
        self.spend(held.saturating_add(listed.into()) / PER_STEP);
        Ok((state, Items::from_encoded(listed, bytes)))
    }

    /// Returns how many members it wrote, and how many records they hold.
    fn list_members(
        &self,
        (key, group): (SubKey, &Group),
        now: Timestamp,
        bytes: &mut Vec<u8>,
    ) -> (u32, u64) {
        let (mut count, mut held) = (0u32, 0u64);
        for member in self.subscriptions.members.of_group(key).take(MAX_MEMBERS) {
            if bytes.len() >= MAX_BYTES || held >= MAX_HELD {
                break;
            }
            let records = member.records_of(group);
            held = held.saturating_add(records.into());
            let quiet = micros(now.since(member.quiet_since.min(now)));
            let item = MemberItem {
                client: self.sessions.get(member.session).map_or("", |entry| &entry.name),
                window: member.window,
                in_flight: records,
                oldest_micros: group.oldest_of(member.id).map_or(0, |since| micros(now.since(since))),
                stuck: records > 0 && quiet >= group.options.ack_deadline_micros,
            };
            item.write(bytes);
            count = count.saturating_add(1);
        }
        (count, held)
    }
}
