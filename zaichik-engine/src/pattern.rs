//! Patterns of topics, found by the name of a topic without looking at the others (rule W6).
//!
//! A trie has a node for each prefix of a pattern's segments. A walk for a name goes from a node to the child of the next
//! segment and to that of `*`, so it visits only prefixes that match so far. It may stop after each step, and patterns may
//! come and go meanwhile: a node that they leave is freed when the walk is over.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use zaichik_proto::{PatternSegment, TopicPattern};

use crate::arena::Arena;

/// Separates the segments of a name.
const SEPARATOR: char = '.';

/// The node without segments, which is never freed.
const ROOT: u32 = 0;

/// Bytes of a node's entry in its parent, besides its segment.
const ENTRY: usize = 48;

/// Bytes of a pattern's entry in its node.
const PATTERN: usize = 32;

/// Values by patterns. A serial number distinguishes those with one pattern.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    nodes: Arena<Node<T>>,
    /// Whether a walk is under way.
    is_walked: bool,
    /// Nodes that may be freed when it is over.
    left: Vec<u32>,
}

#[derive(Debug)]
struct Node<T> {
    /// Its parent, and the segment under which it is there; [`ROOT`] has none.
    parent: u32,
    place: Place,
    literals: BTreeMap<Box<str>, u32>,
    any: Option<u32>,
    /// Values of the pattern that ends here, by serial number.
    here: BTreeMap<u64, T>,
    /// Those of the pattern that goes on with `>`.
    rest: BTreeMap<u64, T>,
}

#[derive(Debug)]
enum Place {
    Any,
    Literal(Box<str>),
}

/// A walk for one name; between its steps the trie may change.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Nodes to visit, each with the position of the rest of the name; `None` if nothing is left of it.
    pending: Vec<(u32, Option<usize>)>,
    /// The node that was visited last, whether the name ended there, and the least serial number that is left.
    list: Option<(u32, bool, u64)>,
}

/// What a step of a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// A value whose pattern matches.
    Match(T),
    /// Nothing yet.
    Node,
}

impl<T: Copy> Trie<T> {
    pub(crate) fn new() -> Self {
        Self { nodes: Arena::new(), is_walked: false, left: Vec::new() }
    }

    /// Bytes that a pattern adds at most.
    pub(crate) fn cost(pattern: TopicPattern<'_>) -> usize {
        let nodes = pattern.segments().count().saturating_mul(size_of::<Node<T>>().saturating_add(ENTRY));
        nodes.saturating_add(pattern.as_str().len()).saturating_add(PATTERN)
    }

    /// Bytes of the list of nodes that are left to be freed.
    pub(crate) const fn spare(&self) -> usize {
        self.left.capacity().saturating_mul(size_of::<u32>())
    }

    /// Adds a value under a pattern and a serial number that no other has. O(length of the pattern · log).
    pub(crate) fn insert(&mut self, pattern: TopicPattern<'_>, serial: u64, value: T) {
        if self.nodes.is_empty() {
            let root = self.nodes.insert(Node::new(ROOT, Place::Any));
            debug_assert_eq!(root, ROOT, "the first node");
        }
        let (mut at, mut has_rest) = (ROOT, false);
        for segment in pattern.segments() {
            match segment {
                PatternSegment::Rest => has_rest = true,
                PatternSegment::Any => at = self.child(at, None),
                PatternSegment::Literal(literal) => at = self.child(at, Some(literal)),
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.list_mut(!has_rest).insert(serial, value);
        }
    }

    /// Removes the value with this pattern and serial number, if there is one.
    pub(crate) fn remove(&mut self, pattern: TopicPattern<'_>, serial: u64) {
        let (mut at, mut has_rest) = (ROOT, false);
        for segment in pattern.segments() {
            let Some(node) = self.nodes.get(at) else { return };
            let child = match segment {
                PatternSegment::Rest => {
                    has_rest = true;
                    break;
                }
                PatternSegment::Any => node.any,
                PatternSegment::Literal(literal) => node.literals.get(literal).copied(),
            };
            let Some(child) = child else { return };
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.list_mut(!has_rest).remove(&serial);
        }
        if self.is_walked {
            self.left.push(at);
        } else {
            self.free(at);
        }
    }

    /// Begins a walk; there is one at a time.
    pub(crate) fn begin(&mut self) -> Walk {
        debug_assert!(!self.is_walked, "one walk at a time");
        self.is_walked = true;
        Walk { pending: vec![(ROOT, Some(0))], list: None }
    }

    /// One step of a walk for this name, which is the same in each step; `None` when it is over.
    pub(crate) fn step(&mut self, walk: &mut Walk, name: &str) -> Option<Found<T>> {
        if let Some((at, is_end, from)) = walk.list.take() {
            let list = self.nodes.get(at).map(|node| node.list(is_end));
            if let Some((serial, value)) = list.and_then(|list| list.range(from..).next()) {
                walk.list = serial.checked_add(1).map(|from| (at, is_end, from));
                return Some(Found::Match(*value));
            }
        }
        let Some((at, start)) = walk.pending.pop() else {
            self.finish();
            return None;
        };
        walk.list = Some((at, start.is_none(), 0));
        if let (Some(node), Some(start)) = (self.nodes.get(at), start) {
            let rest = name.get(start..).unwrap_or_default();
            let segment = rest.split(SEPARATOR).next().unwrap_or_default();
            let next = start.saturating_add(segment.len()).saturating_add(1);
            let next = (next <= name.len()).then_some(next);
            let children = [node.any, node.literals.get(segment).copied()];
            walk.pending.extend(children.into_iter().flatten().map(|child| (child, next)));
        }
        Some(Found::Node)
    }

    /// The walk is over: frees the nodes that were left meanwhile.
    fn finish(&mut self) {
        self.is_walked = false;
        for node in core::mem::take(&mut self.left) {
            self.free(node);
        }
    }

    /// The child of a node under a literal or `*`, which is created if missing.
    fn child(&mut self, at: u32, literal: Option<&str>) -> u32 {
        let known = self.nodes.get(at).and_then(|node| match literal {
            Some(literal) => node.literals.get(literal).copied(),
            None => node.any,
        });
        if let Some(child) = known {
            return child;
        }
        let place = literal.map_or(Place::Any, |literal| Place::Literal(Box::from(literal)));
        let child = self.nodes.insert(Node::new(at, place));
        if let Some(node) = self.nodes.get_mut(at) {
            match literal {
                Some(literal) => {
                    node.literals.insert(Box::from(literal), child);
                }
                None => node.any = Some(child),
            }
        }
        child
    }

    /// Frees a node if nothing is in it, and then its parent.
    fn free(&mut self, node: u32) {
        let mut at = node;
        while at != ROOT && self.nodes.get(at).is_some_and(Node::is_empty) {
            let Some(node) = self.nodes.remove(at) else { return };
            if let Some(parent) = self.nodes.get_mut(node.parent) {
                match node.place {
                    Place::Literal(literal) => {
                        parent.literals.remove(&literal);
                    }
                    Place::Any => parent.any = None,
                }
            }
            at = node.parent;
        }
    }
}

impl<T> Node<T> {
    const fn new(parent: u32, place: Place) -> Self {
        Self {
            parent,
            place,
            literals: BTreeMap::new(),
            any: None,
            here: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }

    const fn list(&self, is_end: bool) -> &BTreeMap<u64, T> {
        if is_end { &self.here } else { &self.rest }
    }

    const fn list_mut(&mut self, is_end: bool) -> &mut BTreeMap<u64, T> {
        if is_end { &mut self.here } else { &mut self.rest }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}
