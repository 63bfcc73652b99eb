//! Rings: doubly linked lists in an arena, in which moving a member, or all members of a ring, costs O(1).
//!
//! A subscription is in at most one ring at a time: its topic's waiting, the broker's woken, or its session's ready
//! subscriptions. A publish moves all waiting subscriptions to the woken ring in one step.

/// A node of the arena: a member, or the head of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node(u32);

#[derive(Debug, Clone, Copy)]
struct Links {
    prev: u32,
    next: u32,
    owner: u32,
}

/// Nodes of a block.
const BLOCK: usize = 16;

/// No node.
const NONE: u32 = u32::MAX;

/// The arena of all nodes, in blocks that never move (rule S14). Memory: 12 bytes per node.
#[derive(Debug)]
pub(crate) struct Rings {
    #[expect(clippy::vec_box, reason = "nodes don't move when the list of blocks grows")]
    blocks: Vec<Box<[Links; BLOCK]>>,
    /// Nodes that were used so far.
    used: u32,
    /// The first vacant one of them; its `next` is the next one.
    vacant: u32,
    /// How many of them are vacant.
    vacancies: u32,
    /// Bytes allocated for nodes that do not exist: asked for in each exchange, and seldom changed.
    spare: usize,
}

impl Default for Rings {
    fn default() -> Self {
        Self { blocks: Vec::new(), used: 0, vacant: NONE, vacancies: 0, spare: 0 }
    }
}

impl Rings {
    /// A new node, alone in its ring. As a member it represents `owner`; the owner of a head is not used.
    pub(crate) fn insert(&mut self, owner: u32) -> Node {
        let index = if self.vacant == NONE {
            if self.used as usize == self.places() {
                self.blocks.push(Box::new([Links { prev: 0, next: 0, owner: 0 }; BLOCK]));
            }
            // More than u32::MAX nodes would need more memory than any budget allows.
            let next = self.used.saturating_add(1);
            core::mem::replace(&mut self.used, next)
        } else {
            self.vacancies = self.vacancies.saturating_sub(1);
            let next = self.links(self.vacant).next;
            core::mem::replace(&mut self.vacant, next)
        };
        *self.links_mut(index) = Links { prev: index, next: index, owner };
        self.spare = self.recount_spare();
        Node(index)
    }

    /// Removes a node from its ring and from the arena.
    pub(crate) fn remove(&mut self, node: Node) {
        self.unlink(node);
        self.links_mut(node.0).next = self.vacant;
        self.vacant = node.0;
        self.vacancies = self.vacancies.saturating_add(1);
        self.spare = self.recount_spare();
    }

    /// Removes a node from its ring.
    #[inline]
    pub(crate) fn unlink(&mut self, Node(index): Node) {
        let links = self.links_mut(index);
        if links.next == index {
            return;
        }
        let Links { prev, next, .. } = *links;
        (links.prev, links.next) = (index, index);
        self.join(prev, next);
    }

    /// Moves a node to the end of the ring of `head`.
    #[inline]
    pub(crate) fn push(&mut self, Node(head): Node, node: Node) {
        self.unlink(node);
        let Node(index) = node;
        let prev = core::mem::replace(&mut self.links_mut(head).prev, index);
        self.links_mut(prev).next = index;
        let links = self.links_mut(index);
        (links.prev, links.next) = (prev, head);
    }

    /// Removes the first member from the ring of `head`, and returns its owner.
    #[inline]
    pub(crate) fn pop(&mut self, Node(head): Node) -> Option<u32> {
        let first = self.links(head).next;
        if first == head {
            return None;
        }
        let links = self.links_mut(first);
        let Links { next, owner, .. } = *links;
        (links.prev, links.next) = (first, first);
        self.join(head, next);
        Some(owner)
    }

    /// Moves all members of one ring to the end of another; returns whether there are any.
    #[inline]
    pub(crate) fn splice(&mut self, Node(from): Node, Node(to): Node) -> bool {
        let source = self.links_mut(from);
        let Links { prev: last, next: first, .. } = *source;
        if first == from {
            return false;
        }
        (source.prev, source.next) = (from, from);
        let prev = core::mem::replace(&mut self.links_mut(to).prev, last);
        self.links_mut(last).next = to;
        self.join(prev, first);
        true
    }

    /// Whether the ring of `head` has no members.
    #[inline]
    pub(crate) fn is_empty(&self, Node(head): Node) -> bool {
        self.links(head).next == head
    }

    /// Whether a node is alone in its ring.
    pub(crate) fn is_alone(&self, node: Node) -> bool {
        self.is_empty(node)
    }

    /// The owners of the members of the ring of `head`, in order.
    pub(crate) fn members(&self, Node(head): Node) -> impl Iterator<Item = u32> {
        let follow = move |index: u32| Some(self.links(index).next).filter(|next| *next != head);
        core::iter::successors(follow(head), move |index| follow(*index)).map(|index| self.links(index).owner)
    }

    /// Whether the next [`insert`](Self::insert) allocates.
    pub(crate) fn is_full(&self) -> bool {
        self.vacant == NONE && self.used as usize == self.places()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let links = self.places().saturating_mul(size_of::<Links>());
        links.saturating_add(self.blocks.capacity().saturating_mul(size_of::<usize>()))
    }

    /// Bytes allocated for nodes that do not exist.
    #[inline]
    pub(crate) const fn spare(&self) -> usize {
        self.spare
    }

    fn recount_spare(&self) -> usize {
        let nodes = self.used.saturating_sub(self.vacancies) as usize;
        self.footprint().saturating_sub(nodes.saturating_mul(size_of::<Links>()))
    }

    fn places(&self) -> usize {
        self.blocks.len().saturating_mul(BLOCK)
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "only the arena makes nodes, and it never shrinks")]
    fn links(&self, index: u32) -> &Links {
        &self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "as above")]
    fn links_mut(&mut self, index: u32) -> &mut Links {
        &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }

    /// Makes `next` follow `prev`.
    #[inline]
    fn join(&mut self, prev: u32, next: u32) {
        self.links_mut(prev).next = next;
        self.links_mut(next).prev = prev;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(rings: &mut Rings, head: Node) -> Vec<u32> {
        std::iter::from_fn(|| rings.pop(head)).collect()
    }

    #[test]
    fn members_keep_their_order_through_splices_and_removals() {
        let mut rings = Rings::default();
        let (waiting, woken) = (rings.insert(0), rings.insert(0));
        let members: Vec<_> = (1..=5).map(|owner| rings.insert(owner)).collect();
        for member in &members[..3] {
            rings.push(waiting, *member);
        }
        rings.push(woken, members[3]);
        rings.splice(waiting, woken);
        assert!(rings.is_empty(waiting));
        rings.push(waiting, members[4]);
        rings.remove(members[1]);
        assert!(rings.members(woken).eq([4, 1, 3]));
        assert_eq!(drain(&mut rings, woken), [4, 1, 3]);
        assert_eq!(drain(&mut rings, waiting), [5]);
        assert!(rings.is_alone(members[0]));
    }

    #[test]
    fn a_removed_node_is_reused() {
        let mut rings = Rings::default();
        let node = rings.insert(7);
        rings.remove(node);
        assert_eq!(rings.insert(8), node);
        assert_eq!(rings.spare(), rings.footprint() - size_of::<Links>());
    }

    #[test]
    fn splicing_an_empty_ring_changes_nothing() {
        let mut rings = Rings::default();
        let (a, b, member) = (rings.insert(0), rings.insert(0), rings.insert(1));
        rings.push(b, member);
        rings.splice(a, b);
        assert_eq!(drain(&mut rings, b), [1]);
    }
}
