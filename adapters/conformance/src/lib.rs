//! What every adapter must do, written once and run over each of them.
//!
//! A case is a function named after the row of the rules that it proves, generic over the [`Form`] in which a
//! broker runs. [`suite!`] makes a test of each case for one form, from the one list below: a case that is added
//! to it is added for every form, and one that is forgotten is a warning about dead code.
//!
//! Peers are clients of the adapter, or speak frames themselves where a client would hide what is to be seen;
//! those check with each delivery that nothing is missing and nothing comes twice. Faults come from a proxy that
//! splits, delays, cuts and freezes by seed. The broker's clock is real: no case sleeps or looks at a clock, each
//! waits for something that can be seen, within a minute. Only the cases of [`timely_suite!`] let hours pass, on runtimes
//! whose time is not real.

#![expect(clippy::expect_used, reason = "a case that does not find what it expects fails, as it should")]
#![expect(clippy::indexing_slicing, reason = "as above")]
#![expect(clippy::arithmetic_side_effects, reason = "a case that overflows fails, as it should")]

mod broker;
mod chapters;
mod delivery;
mod durable;
mod exactly_once;
mod faults;
mod form;
mod memory;
mod peer;
mod proxy;
mod publishing;
mod session;
mod state;
mod timely;
mod wire;

pub use form::{Form, InProcess, Sockets};
pub use memory::{InMemory, MemoryListener};

/// Names each case once; everything else follows from it.
macro_rules! cases {
    ($dollar:tt $($group:ident { $($case:ident)+ })+) => {
        /// The cases, each ready to be run in any form.
        #[doc(hidden)]
        pub mod cases {
            $($(
                pub async fn $case<F: crate::Form>() {
                    crate::broker::within::<F::Runtime, _>(crate::$group::$case::<F>()).await;
                }
            )+)+
        }

        /// Makes a test of each case, for one [`Form`], run to its end by a function such as a runtime's `block_on`.
        #[macro_export]
        macro_rules! suite {
            ($dollar form:ty, $dollar run:path) => {
                $($(
                    #[test]
                    fn $case() {
                        $dollar run($dollar crate::cases::$case::<$dollar form>());
                    }
                )+)+
            };
        }
    };
}

cases! { $
    chapters {
        o_01_interleaved_publishers_are_seen_in_one_order
        t_04_a_topic_is_created_adopted_altered_or_refused
        r_04_what_expires_before_its_turn_is_one_gap
        c_02_a_key_is_remembered_for_its_window_or_superseded
        a_13_a_message_is_nacked_committed_or_becomes_a_dead_letter
        d_03_a_durable_subscription_is_kept_taken_over_and_moved
        p_07_a_higher_epoch_fences_the_lower_one
        x_01_a_transaction_has_all_of_its_effects_or_none
        s11_a_client_sees_topics_subscriptions_and_counters
    }
    delivery {
        a_16_a_connection_that_ends_commits_nothing
        a_17_a_peer_that_stops_reading_delays_no_other
        a_18_a_handler_that_publishes_under_load_makes_progress
        a9_a_dropped_subscription_makes_room_for_the_next
        a7_idle_connections_are_woken_by_a_publish
        a7_large_and_small_messages_arrive_whole
    }
    durable {
        d_02_uncommitted_messages_are_redelivered_in_order
        d_08_a_fenced_client_stays_fenced
    }
    publishing {
        p4_a_dropped_client_still_sends_what_it_accepted
        p4_requests_beyond_the_limit_wait_for_their_turn
        p4_a_publisher_reports_a_refusal_once_and_continues
        p_10_answers_come_while_deliveries_saturate
        p_12_a_subscription_restarts_on_another_instance
        p_12_pending_publishes_end_as_unknown
    }
    exactly_once {
        p_06_a_publish_cut_at_each_byte_is_stored_once
        p_06_several_in_flight_cut_at_many_bytes_keep_their_order
        x_03_a_transaction_cut_at_many_bytes_has_one_effect
        x_03_consume_transform_produce_cut_at_many_bytes
        x_03_consume_transform_produce_by_workers_that_die_at_many_bytes
        x_03_consume_transform_produce_by_workers_that_die_between_any_steps
    }
    session {
        s_03_a_stream_split_at_every_byte_means_the_same
        s_05_a_shutdown_answers_what_it_accepted_and_leaves_nothing
        s5_a_shutdown_waits_for_what_is_being_worked_on
        s5_a_hundred_brokers_come_and_go
        p4_an_address_without_a_broker_is_an_error_at_once
    }
    wire {
        s_04_garbage_is_told_and_closed_and_nobody_else_minds
        w2_a_length_above_the_limit_is_refused_by_its_header
        w6_what_a_later_version_sends_is_skipped
        w5_w10_split_and_late_bytes_change_nothing
        w10_a_slow_reader_gets_the_bytes_that_were_sent
        w8_handshakes_that_never_end_keep_nobody_out
        w8_a_peer_that_says_nothing_is_told_and_closed
        w9_a_peer_that_answers_no_ping_is_given_up
        w9_a_frozen_connection_is_given_up_at_both_ends
        w13_strangers_are_closed_without_an_answer
        w11_a_session_cut_at_every_byte_is_applied_frame_by_frame
        w11_a_client_mends_a_connection_that_breaks_at_any_byte
    }
    state {
        b1_a_peer_that_takes_nothing_is_dropped
        b9_other_connections_subscriptions_are_out_of_reach
        b10_unsubscribe_while_deliveries_are_under_way
        b12_subscribing_races_with_publishing
        b17_a_drain_under_load_answers_what_it_accepts
    }
}

/// The same for cases that let hours pass.
macro_rules! timely_cases {
    ($dollar:tt $($case:ident)+) => {
        /// The cases that let hours pass, each ready to be run on any runtime whose time is not real.
        #[doc(hidden)]
        pub mod timely_cases {
            $(
                pub async fn $case<R: zaichik_driver::Runtime>(tick: std::time::Duration) {
                    crate::timely::$case::<R>(tick).await;
                }
            )+
        }

        /// Makes a test of each case that lets hours pass, for one runtime whose time is not real, and the least time
        /// that can pass there.
        #[macro_export]
        macro_rules! timely_suite {
            ($dollar runtime:ty, $dollar tick:expr, $dollar run:path) => {
                $(
                    #[test]
                    fn $case() {
                        $dollar run(|| $dollar crate::timely_cases::$case::<$dollar runtime>($dollar tick));
                    }
                )+
            };
        }
    };
}

timely_cases! { $
    a_message_lives_for_exactly_an_hour
    what_expires_unread_is_a_gap
    a_key_is_remembered_for_exactly_its_window
    a_nacked_message_comes_again_after_exactly_its_delay
    a_durable_subscription_is_forgotten_after_exactly_a_day
    heartbeats_keep_an_idle_connection_for_a_day
    a_peer_that_says_nothing_is_closed_after_exactly_the_handshake_timeout
    a_publish_is_tried_again_until_its_deadline
}
