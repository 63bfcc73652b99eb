//! What a command is to do, checked as a whole before it does any of it.

use zaichik_driver::{BrokerConfig, ServerError};

use crate::Options;
use crate::config::{Address, Config, Environment, Mistake};
use crate::token::{self, Token};

/// A configuration that is complete and in order.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) token: Option<Token>,
    /// Whether others than this machine may connect without a token.
    pub(crate) is_open: bool,
}

impl Plan {
    /// Reads the configuration and the token.
    ///
    /// # Errors
    /// Everything that is wrong, each with its origin and what would be right.
    pub(crate) fn make(options: &Options) -> Result<Self, Vec<Mistake>> {
        let config = Config::load(options, &Environment::of_the_process())?;
        let token = config.settings.token_file.as_deref().map(token::read).transpose();
        let token = token.map_err(|mistake| vec![mistake])?;
        let settings = &config.settings;
        let exposed = settings.listen.iter().filter(|address| !address.is_loopback());
        let open: Vec<_> = exposed.filter(|_| token.is_none()).collect();
        if !open.is_empty() && !options.insecure {
            let refused = |address: &&Address| {
                Mistake(format!(
                    "{}: listen = \"{address}\" lets others connect without a token; give --token-file, or listen on \
                     127.0.0.1, or let everybody in with --insecure",
                    config.origin("listen")
                ))
            };
            return Err(open.iter().map(refused).collect());
        }
        if let Some(http) = settings.http.as_ref().filter(|http| !http.is_loopback() && !options.insecure) {
            // There is no token that it could ask for.
            return Err(vec![Mistake(format!(
                "{}: http = \"{http}\" shows others the names of topics and subscriptions; listen on 127.0.0.1, or \
                 show them with --insecure",
                config.origin("http")
            ))]);
        }
        Ok(Self { is_open: !open.is_empty(), token, config })
    }

    /// What the broker is told.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn broker(&self) -> Result<BrokerConfig, ServerError> {
        self.config.settings.broker(self.token.as_ref().map(|token| token.bytes.clone()))
    }
}
