//! What Zaichik's brokers must have in common as processes, whatever runtime they run on.
//!
//! Written once: [`command_tests`] makes the tests of a command, [`lifecycle`] is run by each runtime's package.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

#[cfg(unix)]
pub mod commands;
#[cfg(unix)]
pub mod configuration;
#[cfg(unix)]
mod directory;
#[cfg(unix)]
pub mod faults;
#[cfg(target_os = "linux")]
pub mod frozen;
#[cfg(unix)]
pub mod http;
#[cfg(target_os = "linux")]
pub mod lifecycle;
#[cfg(unix)]
mod process;
mod script;

/// The tests of a broker command: what it prints, how it ends, which bytes it sends.
#[macro_export]
macro_rules! command_tests {
    ($command:expr) => {
        $crate::command_tests!($command;
            port_0_is_any_free_port_and_the_real_one_is_printed
            a_port_that_is_taken_is_one_line_and_code_3
            a_filter_that_is_empty_or_wrong_hides_nothing
            the_debug_log_tells_what_each_connection_did
            the_log_says_nothing_about_connections_by_default
            sigint_and_sigterm_drain_and_end_with_0
            a_broker_that_nobody_listens_to_drains_all_the_same
            b17_a_second_signal_ends_a_drain_at_once
            w12_a_flood_of_connections_above_the_descriptors_ends_nobody
            wrong_usage_is_code_2
            the_same_script_gives_the_same_bytes
        );
        $crate::command_tests!($command, configuration;
            config_print_tells_where_each_value_comes_from
            the_first_file_that_is_there_is_read
            unknown_settings_are_refused_with_a_suggestion
            a_wrong_value_is_one_line
            config_default_is_what_holds_without_a_file
            the_broker_does_what_the_configuration_says
            a_broker_listens_on_several_addresses
            a_port_and_addresses_are_wrong_usage
            an_open_address_without_a_token_is_refused
            a_token_lets_in_who_has_it
            a_weak_token_is_told
            the_log_has_three_formats
            verbose_flags_fill_the_log
            a_drain_ends_at_its_deadline
            a_client_comes_back_after_a_drain
            a_broker_listens_on_a_unix_socket
            ready_fd_tells_that_the_broker_is_ready
        );
        $crate::command_tests!($command, http;
            probes_are_answered_and_nothing_else_is
            metrics_count_what_happened
            metrics_name_a_thousand_durable_subscriptions_and_count_the_rest
            metrics_need_no_connection_of_those_allowed_and_no_token
            a_scraper_that_says_nothing_keeps_nobody_out
            a_request_that_is_no_request_is_refused
            readiness_ends_with_the_first_signal
            probes_are_answered_on_a_unix_socket
            an_open_http_address_is_refused
            an_http_port_that_is_taken_is_one_line_and_code_3
        );
        $crate::command_tests!($command, faults;
            w8_five_hundred_slow_handshakes_keep_nobody_out
            b17_sigterm_under_load_accounts_for_every_publish
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
