//! The complete configuration, checked before the broker starts.

use zaichik_driver::BrokerConfig;

use crate::Options;
use crate::config::{Address, Config, Environment, Mistake};
use crate::token::{self, Token};
use crate::topics;

/// A complete and valid configuration.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) token: Option<Token>,
    /// Whether other machines can connect without a token.
    pub(crate) is_open: bool,
    /// Whether a clock far before the last commit is accepted.
    pub(crate) accepts_clock: bool,
}

impl Plan {
    /// Reads the configuration and the token.
    ///
    /// # Errors
    /// All mistakes, each with its origin and how to correct it.
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
                    "{}: listen = \"{address}\" lets other machines connect without a token; set --token-file, \
                     listen on 127.0.0.1, or allow it with --insecure",
                    config.origin("listen")
                ))
            };
            return Err(open.iter().map(refused).collect());
        }
        if let Some(http) = settings.http.as_ref().filter(|http| !http.is_loopback() && !options.insecure) {
            // A token does not help: HTTP has no authentication.
            return Err(vec![Mistake(format!(
                "{}: http = \"{http}\" lets other machines see the names of topics and subscriptions; listen on \
                 127.0.0.1, or allow it with --insecure",
                config.origin("http")
            ))]);
        }
        let accepts_clock = options.accept_clock;
        let plan = Self { is_open: !open.is_empty(), token, config, accepts_clock };
        plan.broker().check().map_err(|error| vec![Mistake(error.to_string())])?;
        topics::check(plan.broker(), &plan.config.topics).map_err(|mistake| vec![mistake])?;
        Ok(plan)
    }

    /// The configuration of the broker itself.
    pub(crate) fn broker(&self) -> BrokerConfig {
        self.config.settings.broker(self.token.as_ref().map(|token| token.bytes.clone()))
    }
}
