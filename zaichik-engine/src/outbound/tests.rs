#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use std::collections::VecDeque;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    /// A frame of one lane, written in one go.
    Frame(LaneKind, usize),
    /// A stream frame with a body that is shared.
    Shared(usize, usize),
    /// The socket accepts up to `bytes` bytes of `slices` slices.
    Write {
        slices: usize,
        bytes: usize,
    },
    ClearStream,
    Shrink,
}

/// Whole frames, and the one being written.
#[derive(Debug, Default)]
struct Naive {
    stream: VecDeque<Vec<u8>>,
    control: VecDeque<Vec<u8>>,
    /// The rest of a partly written frame, and whether it is a stream frame.
    begun: Option<(bool, Vec<u8>)>,
}

impl Naive {
    /// All bytes in the order in which they are sent if no frame is added.
    fn bytes(&self) -> Vec<u8> {
        let begun = self.begun.iter().map(|(_, rest)| rest);
        begun.chain(&self.control).chain(&self.stream).flatten().copied().collect()
    }

    fn take(&mut self, count: usize) {
        for _ in 0..count {
            let (is_stream, mut rest) = self.begun.take().unwrap_or_else(|| {
                let control = self.control.pop_front().map(|frame| (false, frame));
                control.or_else(|| self.stream.pop_front().map(|frame| (true, frame))).unwrap()
            });
            rest.remove(0);
            self.begun = (!rest.is_empty()).then_some((is_stream, rest));
        }
    }

    fn lens(&self) -> (usize, usize) {
        let begun = |is_stream| {
            let begun = self.begun.iter().filter(|(stream, _)| *stream == is_stream);
            begun.map(|(_, rest)| rest.len()).sum::<usize>()
        };
        let sum = |frames: &VecDeque<Vec<u8>>| frames.iter().map(Vec::len).sum::<usize>();
        (begun(true) + sum(&self.stream), begun(false) + sum(&self.control))
    }
}

fn check(actions: &[Action]) {
    let mut outbound = Outbound::default();
    let mut naive = Naive::default();
    let mut taken = 0;
    for (action, mark) in actions.iter().zip((0..=u8::MAX).cycle()) {
        match action {
            Action::Frame(lane, len) => {
                let frame = vec![mark; *len];
                outbound.frame(*lane, |out| out.extend_from_slice(&frame));
                match lane {
                    LaneKind::Stream => naive.stream.push_back(frame),
                    LaneKind::Control => naive.control.push_back(frame),
                }
            }
            Action::Shared(head, body) => {
                let frame = vec![mark; head + body];
                let body = Bytes::from(vec![mark; *body]);
                outbound.stream_frame_with(&body, |out| out.extend_from_slice(&frame[..*head]));
                naive.stream.push_back(frame);
            }
            Action::Write { slices, bytes } => {
                let mut io = vec![IoSlice::new(&[]); *slices];
                let filled = outbound.chunks_vectored(&mut io);
                let mut offered: Vec<u8> =
                    io[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
                assert!(io[..filled].iter().all(|slice| !slice.is_empty()));
                let expected = naive.bytes();
                assert!(expected.starts_with(&offered), "no frame is interrupted by another");
                assert!(filled == *slices || offered.len() == expected.len(), "all that fits is offered");
                offered.truncate(*bytes);
                outbound.advance(offered.len());
                naive.take(offered.len());
                taken += offered.len() as u64;
            }
            Action::ClearStream => {
                outbound.clear_stream();
                naive.stream.clear();
            }
            Action::Shrink => outbound.shrink(),
        }
        assert_eq!((outbound.stream_len(), outbound.control_len()), naive.lens());
        assert_eq!(outbound.remaining(), naive.bytes().len());
        assert_eq!(outbound.has_remaining(), !outbound.chunk().is_empty());
        assert!(naive.bytes().starts_with(outbound.chunk()));
        assert_eq!(outbound.taken(), taken);
        assert_eq!(outbound.allocated, outbound.recount());
    }
    let expected = naive.bytes();
    assert_eq!(outbound.copy_to_bytes(expected.len()), expected);
    assert!(!outbound.has_remaining());
}

/// An answer is applied, and a record delivered, when there are 6 KiB for it.
#[test]
fn s15_a_short_frame_allocates_at_most_6_kib_in_its_lane_however_much_waits() {
    for (lane, head, body) in [
        (LaneKind::Control, 16, 0),
        (LaneKind::Stream, 16, 0),
        (LaneKind::Stream, 33, 0),
        (LaneKind::Stream, 300, 0),
        (LaneKind::Stream, 33, INLINE_MAX + 1),
    ] {
        let (mut outbound, body) = (Outbound::default(), Bytes::from(vec![7; body]));
        while outbound.remaining() < 256 << 10 {
            let before = outbound.allocated();
            if body.is_empty() {
                outbound.frame(lane, |out| out.extend_from_slice(&vec![7; head]));
            } else {
                outbound.stream_frame_with(&body, |out| out.extend_from_slice(&vec![7; head]));
            }
            let more = outbound.allocated() - before;
            assert!(more <= 6 << 10, "{more} bytes for {head} in {lane:?} behind {}", outbound.remaining());
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    let lane = select(vec![LaneKind::Stream, LaneKind::Control]);
    let len = || prop_oneof![10 => 1..80usize, 1 => select(vec![511, 512, 513, 5_000])];
    prop_oneof![
        6 => (lane, len()).prop_map(|(lane, len)| Action::Frame(lane, len)),
        4 => (1..40usize, len()).prop_map(|(head, body)| Action::Shared(head, body)),
        8 => (1..8usize, prop_oneof![1..100usize, Just(usize::MAX)])
            .prop_map(|(slices, bytes)| Action::Write { slices, bytes }),
        1 => Just(Action::ClearStream),
        1 => Just(Action::Shrink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn o_06_control_frames_are_sent_at_the_next_boundary_and_lanes_keep_their_order(
        actions in vec_of(action(), 1..100),
    ) {
        check(&actions);
    }
}
