//! Which broker a command talks to, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use zaichik_tokio::{Client, ClientBuilder};

use crate::failure::{Code, Failure};

/// The port of a broker that was not told another one.
const DEFAULT_PORT: u16 = 8889;

const SERVER: &str = "The broker: zaichik://host:port, host:port or unix:/path. Default: $ZAICHIK_URL, else port 8889, \
                      or $PORT, of this machine";

/// Where the broker is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    #[arg(short, long, value_name = "URL", help = SERVER)]
    server: Option<String>,
    /// A file that holds the broker's token; empty: none.
    // An empty variable is no path, for the broker neither: clap's own parser of paths refuses it.
    #[arg(long, env = "ZAICHIK_TOKEN_FILE", value_name = "PATH", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    token_file: Option<PathBuf>,
    /// How long connecting may take.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
}

/// A broker's address, and the token that came with it.
#[derive(Debug, PartialEq, Eq)]
struct Location {
    address: String,
    token: Option<String>,
}

impl ServerArgs {
    /// The broker's address, without a token.
    ///
    /// # Errors
    /// A token was given with `--server`, or the port in the environment is none.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        Ok(self.location()?.address)
    }

    /// How to connect, as `name` in the broker's log.
    ///
    /// # Errors
    /// As [`address`](Self::address), and the token can't be read.
    pub(crate) fn builder(&self, name: &str) -> Result<ClientBuilder, Failure> {
        let Location { address, token } = self.location()?;
        let builder = Client::builder(&address).name(name);
        Ok(match (self.token_file.as_ref().filter(|path| !path.as_os_str().is_empty()), token) {
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
        let address = self.address()?;
        Err(Failure::new(
            Code::Unreachable,
            format_args!("{address} did not answer within {waited}; is it a Zaichik broker?"),
        ))
    }

    fn location(&self) -> Result<Location, Failure> {
        if let Some(url) = &self.server {
            let location = Location::parse(url);
            if location.token.is_some() {
                return Err(Failure::new(
                    Code::Usage,
                    "everybody on this machine can read a token on a command line; put it into a file and name that \
                     with --token-file, or set the whole URL in $ZAICHIK_URL",
                ));
            }
            return Ok(location);
        }
        match std::env::var("ZAICHIK_URL") {
            Ok(url) if !url.is_empty() => Ok(Location::parse(&url)),
            _ => Ok(Location::parse(&format!("127.0.0.1:{}", port(std::env::var("PORT").ok())?))),
        }
    }
}

impl Location {
    fn parse(url: &str) -> Self {
        if url.starts_with("unix:") {
            return Self { address: url.to_owned(), token: None };
        }
        let rest = url.strip_prefix("zaichik://").unwrap_or(url).trim_end_matches('/');
        let (token, host) = match rest.rsplit_once('@') {
            Some((token, host)) => (Some(token.to_owned()), host),
            None => (None, rest),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let address = if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") };
        Self { address, token }
    }
}

fn port(variable: Option<String>) -> Result<u16, Failure> {
    let Some(text) = variable else {
        return Ok(DEFAULT_PORT);
    };
    text.parse().map_err(|_| {
        Failure::new(Code::Usage, format_args!("$PORT is {text:?}, which is not a port; use 1 to 65535"))
    })
}

fn read_token(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut token = std::fs::read(path).map_err(|error| {
        Failure::new(Code::Usage, format_args!("cannot read the token file {}: {error}", path.display()))
    })?;
    token.truncate(token.trim_ascii_end().len());
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(address: &str, token: Option<&str>) -> Location {
        Location { address: address.to_owned(), token: token.map(str::to_owned) }
    }

    #[test]
    fn a_url_may_have_a_scheme_a_token_and_a_port() {
        for (url, expected) in [
            ("localhost:1", location("localhost:1", None)),
            ("localhost", location("localhost:8889", None)),
            ("zaichik://localhost:1/", location("localhost:1", None)),
            ("zaichik://a@b@localhost:1", location("localhost:1", Some("a@b"))),
            ("zaichik://secret@[::1]", location("[::1]:8889", Some("secret"))),
            ("[::1]:1", location("[::1]:1", None)),
            ("unix:/run/a@b", location("unix:/run/a@b", None)),
        ] {
            assert_eq!(Location::parse(url), expected, "{url}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_refused() {
        assert!(port(None).is_ok_and(|port| port == DEFAULT_PORT));
        assert!(port(Some("1".to_owned())).is_ok_and(|port| port == 1));
        assert!(port(Some("many".to_owned())).is_err());
    }
}
