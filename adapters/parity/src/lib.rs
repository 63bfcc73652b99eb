//! Tests that every Zaichik broker command must pass as a process, on any runtime.
//!
//! [`command_tests`] defines the tests of a command; each runtime's package runs [`lifecycle`] and [`frozen`].

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

#[cfg(unix)]
pub mod access;
#[cfg(unix)]
pub mod backups;
#[cfg(unix)]
pub mod commands;
#[cfg(unix)]
pub mod configuration;
#[cfg(unix)]
mod directory;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod failing_disk;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod fault_layer;
#[cfg(unix)]
pub mod faults;
#[cfg(target_os = "linux")]
pub mod frozen;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod full_disk;
#[cfg(unix)]
pub mod hoards;
#[cfg(unix)]
pub mod http;
#[cfg(unix)]
pub mod interval;
#[cfg(unix)]
pub mod kills;
#[cfg(target_os = "linux")]
pub mod lifecycle;
#[cfg(unix)]
pub mod listeners;
mod messages;
#[cfg(unix)]
mod numbered;
#[cfg(unix)]
mod outcome;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod random;
#[cfg(target_os = "linux")]
pub mod resident;
#[cfg(unix)]
pub mod retention;
mod script;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod slow_disk;
#[cfg(unix)]
pub mod storage;
#[cfg(unix)]
pub mod topics;
#[cfg(unix)]
pub mod work;

/// Defines the tests of a broker command: its output, its exit codes and the bytes it sends.
#[macro_export]
macro_rules! command_tests {
    ($command:expr) => {
        $crate::command_tests!($command;
            port_0_picks_a_free_port_and_prints_it
            a_port_in_use_is_reported_in_one_line_with_code_3
            an_empty_or_invalid_log_filter_hides_nothing
            the_debug_log_shows_what_each_connection_did
            connections_are_not_logged_by_default
            sigint_and_sigterm_drain_and_exit_with_0
            a_log_that_nobody_reads_does_not_stop_the_broker
            a_broker_whose_log_reader_is_gone_still_drains
            s5_a_second_signal_ends_a_drain_at_once
            s10_more_connections_than_descriptors_end_no_connection
            wrong_usage_is_code_2
            s_01_the_same_script_gives_the_same_bytes
        );
        $crate::command_tests!($command, configuration;
            config_print_shows_the_origin_of_each_value
            the_first_file_that_exists_is_read
            unknown_settings_are_refused_with_a_suggestion
            an_invalid_value_is_reported_in_one_line
            a_memory_budget_below_the_minimum_is_refused
            settings_that_do_not_fit_each_other_are_refused
            empty_variables_count_as_not_set
            configurations_are_printed_as_json
            config_default_prints_a_file_that_changes_nothing
            the_configuration_reaches_the_broker
            the_log_has_three_formats
            verbose_flags_set_the_log_level
            a_drain_ends_at_its_deadline
            a_client_reconnects_after_a_drain
            ready_fd_reports_that_the_broker_is_ready
        );
        $crate::command_tests!($command, access;
            an_open_address_without_a_token_is_refused
            only_clients_with_the_token_can_connect
            a_client_without_the_token_is_logged_with_its_address
            a_short_token_is_refused_and_a_readable_file_is_reported
        );
        $crate::command_tests!($command, listeners;
            a_broker_listens_on_several_addresses
            a_hundred_listeners_are_all_served
            a_port_together_with_addresses_is_a_usage_error
            a_broker_listens_on_a_unix_socket
        );
        $crate::command_tests!($command, http;
            only_probes_and_metrics_are_served
            metrics_count_what_happened
            metrics_describe_the_storage
            metrics_name_a_thousand_durable_subscriptions_and_count_the_rest
            metrics_work_with_all_connections_in_use_and_without_a_token
            silent_scrapers_do_not_keep_others_out
            a_malformed_request_is_refused
            readiness_ends_with_the_first_signal
            probes_are_answered_on_a_unix_socket
            an_open_http_address_is_refused
            an_http_port_in_use_is_reported_in_one_line_with_code_3
        );
        $crate::command_tests!($command, faults;
            s1_five_hundred_slow_handshakes_do_not_keep_clients_out
            s5_sigterm_under_load_accounts_for_every_publish
            s4_a_stopped_broker_drops_no_peer_that_answers_its_ping
        );
        $crate::command_tests!($command, hoards;
            s15_connections_that_hoard_memory_stay_within_the_budget
        );
        $crate::command_tests!($command, storage;
            b8_records_beyond_the_memory_are_read_back
            the_start_lines_say_what_was_recovered
            a_directory_in_use_is_code_75
            a_directory_of_another_program_or_version_is_code_9
            b4_a_damaged_directory_is_code_8
            b8_damage_that_a_start_does_not_read_is_found_by_the_first_reader
            a_directory_that_the_system_refuses_is_code_74
        );
        $crate::command_tests!($command, retention;
            r2_a_limit_in_bytes_limits_the_directory
            r1_a_limit_in_time_empties_the_directory
            r2_limits_of_several_topics_limit_the_directory
            r2_a_record_that_stays_does_not_keep_its_file
            b8_cursors_and_producers_alone_do_not_fill_the_directory
        );
        #[cfg(target_os = "linux")]
        $crate::command_tests!($command, resident;
            b8_the_memory_of_the_process_does_not_grow_with_what_is_stored
        );
        $crate::command_tests!($command, backups;
            b_60_a_backup_of_a_broker_under_load_is_another_instance_each_time_it_is_restored
        );
        $crate::command_tests!($command, kills;
            b1_a_broker_killed_under_load_loses_and_repeats_nothing
        );
        $crate::command_tests!($command, topics;
            t_08_declared_topics_exist_when_the_broker_is_ready
            t_09_other_settings_are_reported_and_applied_with_alter
            t_10_a_topic_that_cannot_be_altered_now_keeps_its_settings
            t_10_a_declared_topic_without_room_is_reported_with_its_line
            t8_mistakes_in_declared_topics_are_refused_with_their_line
            t8_declared_topics_are_printed_with_their_lines
        );
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        $crate::command_tests!($command, failing_disk;
            b6_a_broker_whose_disk_fails_loses_nothing_that_it_acknowledged
            b_15_an_answer_whose_sync_fails_is_never_sent
            b8_a_record_that_cannot_be_read_back_is_not_skipped
            b7_a_sync_at_an_interval_that_fails_makes_another_instance
            a_start_that_the_disk_refuses_is_code_74
        );
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        $crate::command_tests!($command, slow_disk;
            b6_a_disk_that_takes_long_delays_what_depends_on_it_and_nothing_else
        );
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        $crate::command_tests!($command, full_disk;
            a_full_disk_holds_answers_until_there_is_space
            b9_from_the_reserve_consumers_commit_while_publishes_are_refused
            a_stop_with_a_full_disk_ends_with_its_grace_and_code_74
        );
        $crate::command_tests!($command, interval;
            b7_a_killed_broker_that_syncs_at_an_interval_loses_nothing
            b_43_when_the_machine_ended_clients_hear_of_another_instance
            b3_a_clock_far_before_the_last_commit_is_refused_unless_it_is_accepted
            b3_a_clock_a_little_before_the_last_commit_is_used
        );
        $crate::command_tests!($command, work;
            s14_peers_that_make_work_keep_nobody_from_being_served
        );
    };
    ($command:expr; $($name:ident)*) => {
        $crate::command_tests!($command, commands; $($name)*);
    };
    ($command:expr, $module:ident; $($name:ident)*) => {
        $(
            #[cfg(unix)]
            #[test]
            fn $name() {
                $crate::$module::$name($command);
            }
        )*
    };
}
