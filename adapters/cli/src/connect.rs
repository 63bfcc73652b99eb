//! How a command finds its broker and connects to it.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use zaichik_serve::ConfiguredBroker;
use zaichik_tokio::{Client, ClientBuilder};

use crate::failure::{Code, Failure, notice};

/// The broker's default port.
const DEFAULT_PORT: u16 = 8889;

const SERVER: &str = "Broker to connect to: zaichik://host:port, host:port or unix:/path [default: $ZAICHIK_SERVER, or \
                      port $PORT or 8889 of this machine]";

/// Variables with the broker's URL: as `--server`, which cannot have a token, and under an earlier name.
const VARIABLES: [&str; 2] = ["ZAICHIK_SERVER", "ZAICHIK_URL"];

/// Warns once of a token's file: a benchmark reads it for each connection.
static WARNED: Once = Once::new();

/// The broker's address, and how to connect to it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    #[arg(short, long, value_name = "URL", help = SERVER)]
    server: Option<String>,
    /// File with the broker's token; empty for none.
    // Clap's own parser of paths refuses an empty variable, which means no token here, as it does for the broker.
    #[arg(long, env = "ZAICHIK_TOKEN_FILE", value_name = "PATH", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    token_file: Option<PathBuf>,
    /// Maximum time to wait for a connection.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
}

/// A broker's address, and the token in the URL, if any.
#[derive(Debug, PartialEq, Eq)]
struct BrokerUrl {
    address: String,
    token: Option<String>,
}

impl ServerArgs {
    /// The same for the broker that this machine's configuration describes; a token file on the command line stays.
    pub(crate) fn at(self, broker: ConfiguredBroker) -> Self {
        let token_file = self.token_file.filter(|path| !path.as_os_str().is_empty()).or(broker.token_file);
        Self { server: Some(broker.address), token_file, ..self }
    }

    /// Maximum time to wait for a connection.
    pub(crate) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The broker's address, without a token.
    ///
    /// # Errors
    /// `--server` has a token, a URL has another scheme, or `PORT` is not a port.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        Ok(self.url()?.address)
    }

    /// A builder for the client; `name` appears in the broker's log.
    ///
    /// # Errors
    /// As for [`address`](Self::address), or the token cannot be read.
    pub(crate) fn builder(&self, name: &str) -> Result<ClientBuilder, Failure> {
        let BrokerUrl { address, token } = self.url()?;
        let builder = Client::builder(&address).name(name);
        Ok(match (self.token_file.as_ref().filter(|path| !path.as_os_str().is_empty()), token) {
            (Some(path), _) => builder.token(read_token(path)?),
            (None, Some(token)) => builder.token(token),
            (None, None) => builder,
        })
    }

    /// Connects a client.
    ///
    /// # Errors
    /// The broker cannot be reached, rejects the client, or does not answer in time.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client, Failure> {
        self.connect_with(name, |builder| builder).await
    }

    /// Connects a client that `configure` has configured further.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub(crate) async fn connect_with(
        &self,
        name: &str,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let connecting = configure(self.builder(name)?).connect();
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

    fn url(&self) -> Result<BrokerUrl, Failure> {
        if let Some(server) = &self.server {
            let url = BrokerUrl::checked(server)?;
            if url.token.is_some() {
                return Err(Failure::new(
                    Code::Usage,
                    "the URL of --server has a token, which every user of this machine can read; put the token into \
                     a file and pass it with --token-file, or set the whole URL in $ZAICHIK_SERVER",
                ));
            }
            return Ok(url);
        }
        match VARIABLES.into_iter().find_map(variable) {
            Some(url) => BrokerUrl::checked(&url),
            None => Ok(BrokerUrl::parse(&format!("127.0.0.1:{}", port(variable("PORT"))?))),
        }
    }
}

impl BrokerUrl {
    fn checked(url: &str) -> Result<Self, Failure> {
        match url.split_once("://") {
            Some((scheme, _)) if scheme != "zaichik" => Err(Failure::new(
                Code::Usage,
                format_args!(
                    "the broker's URL begins with {scheme}://; use zaichik://host:port, host:port or unix:/path"
                ),
            )),
            _ => Ok(Self::parse(url)),
        }
    }

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

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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
    if let Some(warning) = zaichik_serve::token_file_warning(path) {
        WARNED.call_once(|| notice(warning));
    }
    let mut token = std::fs::read(path).map_err(|error| {
        Failure::new(Code::Usage, format_args!("cannot read the token file {}: {error}", path.display()))
    })?;
    token.truncate(token.trim_ascii_end().len());
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(address: &str, token: Option<&str>) -> BrokerUrl {
        BrokerUrl { address: address.to_owned(), token: token.map(str::to_owned) }
    }

    #[test]
    fn a_url_may_have_a_scheme_a_token_and_a_port() {
        for (url, expected) in [
            ("localhost:1", parsed("localhost:1", None)),
            ("localhost", parsed("localhost:8889", None)),
            ("zaichik://localhost:1/", parsed("localhost:1", None)),
            ("zaichik://a@b@localhost:1", parsed("localhost:1", Some("a@b"))),
            ("zaichik://secret@[::1]", parsed("[::1]:8889", Some("secret"))),
            ("[::1]:1", parsed("[::1]:1", None)),
            ("unix:/run/a@b", parsed("unix:/run/a@b", None)),
        ] {
            assert_eq!(BrokerUrl::parse(url), expected, "{url}");
        }
    }

    #[test]
    fn another_scheme_is_refused() {
        assert!(BrokerUrl::checked("http://localhost:1").is_err());
        assert_eq!(
            BrokerUrl::checked("zaichik://a://b@localhost:1").ok(),
            Some(parsed("localhost:1", Some("a://b")))
        );
    }

    #[test]
    fn an_invalid_port_is_refused() {
        assert!(port(None).is_ok_and(|port| port == DEFAULT_PORT));
        assert!(port(Some("1".to_owned())).is_ok_and(|port| port == 1));
        for wrong in ["many", "1x", "1 ", "1 2", "1,2", "65536", "-1", "0x1", "8889:8890"] {
            assert!(port(Some(wrong.to_owned())).is_err(), "{wrong}");
        }
    }
}
