//! Which broker a command talks to, and how.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use zaichik_tokio::{Client, ClientBuilder};

use crate::failure::{Code, Failure};

/// The port of a broker that was not told another one.
const DEFAULT_PORT: u16 = 8889;

/// Where the broker is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The broker: `zaichik://[token@]host:port` or `host:port`. Default: port 8889, or $PORT, of this machine.
    #[arg(short, long, env = "ZAICHIK_URL", value_name = "URL", hide_env_values = true)]
    server: Option<String>,
    /// A file that holds the broker's token.
    #[arg(long, env = "ZAICHIK_TOKEN_FILE", value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// How long connecting may take.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
}

impl ServerArgs {
    /// The broker's address, without a token.
    pub(crate) fn address(&self) -> String {
        match &self.server {
            Some(url) => split(url).1.to_owned(),
            None => format!("127.0.0.1:{}", default_port()),
        }
    }

    /// How to connect, as `name` in the broker's log.
    ///
    /// # Errors
    /// The token can't be read.
    pub(crate) fn builder(&self, name: &str) -> Result<ClientBuilder, Failure> {
        let builder = Client::builder(&self.address()).name(name);
        let from_url = self.server.as_deref().and_then(|url| split(url).0);
        Ok(match (&self.token_file, from_url) {
            (Some(path), _) => builder.token(read_token(path)?),
            (None, Some(token)) => builder.token(token),
            (None, None) => builder,
        })
    }

    /// A client that is connected.
    ///
    /// # Errors
    /// There is no broker, or it does not let the command in, or it takes too long.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client, Failure> {
        self.connect_with(name, |builder| builder).await
    }

    /// The same, configured further.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub(crate) async fn connect_with(
        &self,
        name: &str,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let connecting = change(self.builder(name)?).connect();
        if let Ok(connected) = tokio::time::timeout(self.connect_timeout, connecting).await {
            return Ok(connected?);
        }
        let waited = humantime::format_duration(self.connect_timeout);
        let address = self.address();
        Err(Failure::new(
            Code::Unreachable,
            format_args!("{address} did not answer within {waited}; is it a Zaichik broker?"),
        ))
    }
}

/// The token and the address of a URL.
fn split(url: &str) -> (Option<&str>, &str) {
    let rest = url.strip_prefix("zaichik://").unwrap_or(url);
    match rest.rsplit_once('@') {
        Some((token, address)) => (Some(token), address),
        None => (None, rest),
    }
}

fn default_port() -> u16 {
    std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT)
}

fn read_token(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let mut token = std::fs::read(path).map_err(|error| {
        Failure::new(Code::Usage, format_args!("cannot read the token file {}: {error}", path.display()))
    })?;
    token.truncate(token.trim_ascii_end().len());
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_have_a_scheme_and_a_token() {
        assert_eq!(split("localhost:1"), (None, "localhost:1"));
        assert_eq!(split("zaichik://localhost:1"), (None, "localhost:1"));
        assert_eq!(split("zaichik://a@b@localhost:1"), (Some("a@b"), "localhost:1"));
    }
}
