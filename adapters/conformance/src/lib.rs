//! The requirements for every adapter, written once and run over each adapter.
//!
//! The engine's tests prove each row of `docs/rules.md` in simulated time. This suite covers the parts that only an
//! adapter can break: byte streams, the ends of connections, wakeups, threads, timers, the client's calls and queues,
//! and one case per chapter. `tests/rules` checks the rules against the sources.
//!
//! A case is a function named after the row or clause that it proves, generic over the [`Form`] in which a broker runs.
//! [`suite!`] makes a test of each case in the list below for one form. A case that is missing from the list is a
//! dead-code warning.
//!
//! Peers are clients of the adapter, or raw peers that speak frames where a client would hide something; raw peers
//! check with each delivery that no message is missing or duplicated. Faults come from a proxy that splits, delays,
//! cuts and freezes by seed. The broker's clock is real: no case sleeps or reads a clock; each waits, for at most a
//! minute, until it observes something. Only the cases of [`timely_suite!`] let hours pass, on runtimes with virtual
//! time.

#![expect(clippy::expect_used, reason = "a case whose expectation is not met must fail")]
#![expect(clippy::indexing_slicing, reason = "as above")]
#![expect(clippy::arithmetic_side_effects, reason = "a case that overflows must fail")]

mod broker;
mod chapters;
mod delivery;
mod durable;
mod exactly_once;
mod faults;
mod form;
mod memory;
mod patterns;
mod peer;
mod proxy;
mod publishing;
mod session;
mod shared;
mod state;
mod timely;
mod wire;
mod workers;

pub use form::{Form, InProcess, Sockets};
pub use memory::{InMemory, MemoryListener};

/// Lists each case once; its test in every form follows from the list.
macro_rules! cases {
    ($dollar:tt $($group:ident { $($case:ident)+ })+) => {
        /// The cases, which run in any form.
        #[doc(hidden)]
        pub mod cases {
            $($(
                pub async fn $case<F: crate::Form>() {
                    crate::broker::within::<F::Runtime, _>(crate::$group::$case::<F>()).await;
                }
            )+)+
        }

        /// Makes a test of each case for one [`Form`]; the second argument, such as a runtime's `block_on`, runs a
        /// case.
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
        r_04_records_that_expire_before_their_turn_are_one_gap
        r_18_a_trim_is_a_gap_for_readers_behind_it_and_a_start_for_others
        c_02_a_key_is_remembered_for_its_window_or_superseded
        a_13_a_message_is_nacked_committed_or_becomes_a_dead_letter
        d_03_a_durable_subscription_is_kept_taken_over_and_moved
        p_07_a_higher_epoch_fences_the_lower_one
        x_01_a_transaction_has_all_of_its_effects_or_none
        s11_a_client_sees_topics_subscriptions_and_counters
    }
    delivery {
        a_16_a_connection_that_ends_commits_nothing
        a_17_a_peer_that_stops_reading_does_not_delay_others
        a_18_a_handler_that_publishes_under_load_makes_progress
        a9_a_dropped_subscription_makes_room_for_the_next
        a7_idle_connections_are_woken_by_a_publish
        a7_large_and_small_messages_arrive_whole
    }
    durable {
        d_02_uncommitted_messages_are_redelivered_in_order
        d_08_a_fenced_client_stays_fenced
    }
    patterns {
        w_01_a_topic_that_is_created_later_is_received_from_its_first_record_on
        w3_after_a_cut_each_topic_of_a_pattern_continues_after_its_last_commit
    }
    shared {
        g_02_what_a_member_held_comes_to_the_others_when_its_connection_breaks
    }
    workers {
        g_01_members_get_every_message_once
        g_02_a_client_that_dies_leaves_its_messages_to_the_others
        g10_a_client_joins_again_after_a_cut_and_settles_only_what_it_holds_now
    }
    publishing {
        p4_a_dropped_client_still_sends_accepted_requests
        p4_requests_beyond_the_limit_wait_for_their_turn
        p4_a_publisher_reports_a_refusal_once_and_continues
        p6_publishes_that_wait_for_room_are_stored_in_the_order_of_the_calls
        p_10_answers_arrive_while_deliveries_saturate_the_connection
        p_12_a_subscription_restarts_on_another_instance
        p_12_pending_publishes_end_as_unknown
        b_12_without_a_store_nothing_survives
    }
    exactly_once {
        p_06_a_publish_cut_at_each_byte_is_stored_once
        p_06_several_publishes_in_flight_cut_at_many_bytes_keep_their_order
        x_03_a_transaction_cut_at_many_bytes_has_one_effect
        x_03_consume_transform_produce_cut_at_many_bytes
        x_03_consume_transform_produce_by_workers_that_die_at_many_bytes
        x_03_consume_transform_produce_by_workers_that_die_between_any_steps
    }
    session {
        s_03_a_stream_split_at_every_byte_has_the_same_result
        s_05_a_shutdown_answers_accepted_requests
        s5_a_shutdown_waits_for_uncommitted_messages
        s5_a_hundred_brokers_start_and_stop
        p4_an_address_without_a_broker_is_an_error_at_once
    }
    wire {
        s_04_garbage_ends_only_its_own_connection
        s13_a_length_above_the_limit_is_refused_by_its_header
        s13_extension_frames_of_a_later_version_are_skipped
        s2_split_and_late_bytes_have_no_effect
        s2_a_slow_reader_gets_the_bytes_that_were_sent
        s1_handshakes_that_never_end_do_not_keep_clients_out
        s1_a_silent_peer_is_closed_at_the_handshake_timeout
        s4_a_peer_that_does_not_answer_pings_is_dropped
        s4_a_frozen_connection_is_dropped_at_both_ends
        s1_other_protocols_are_closed_without_an_answer
        s6_a_session_cut_at_every_byte_is_applied_frame_by_frame
        s6_a_client_recovers_from_a_cut_at_any_byte
    }
    state {
        s4_a_peer_that_accepts_no_bytes_is_dropped
        s7_other_connections_subscriptions_are_out_of_reach
        a9_unsubscribe_while_deliveries_are_in_transit
        r3_subscribing_races_with_publishing
        s5_a_drain_under_load_answers_accepted_publishes
        s_05_a_draining_broker_answers_what_was_sent_before_the_end_of_the_stream
    }
}

/// Lists the cases that let hours pass.
macro_rules! timely_cases {
    ($dollar:tt $($case:ident)+) => {
        /// The cases that let hours pass, which run on any runtime with virtual time.
        #[doc(hidden)]
        pub mod timely_cases {
            $(
                pub async fn $case<R: zaichik_driver::Runtime>(tick: std::time::Duration) {
                    crate::timely::$case::<R>(tick).await;
                }
            )+
        }

        /// Makes a test of each case that lets hours pass, for one runtime with virtual time and that runtime's
        /// smallest unit of time.
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
    r1_a_message_lives_for_exactly_an_hour
    r4_a_message_that_expires_unread_is_a_gap
    c1_a_key_is_remembered_for_exactly_its_window
    a4_a_nacked_message_is_redelivered_after_exactly_its_delay
    d5_a_durable_subscription_is_forgotten_after_exactly_a_day
    s4_heartbeats_keep_an_idle_connection_for_a_day
    s1_a_silent_peer_is_closed_after_exactly_the_handshake_timeout
    r5_a_publish_is_retried_until_its_deadline
}
