//! The broker that the configuration of this machine describes, for a client beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::Options;
use crate::config::{Config, Environment};

/// Where a client on this machine finds the configured broker.
///
/// The configuration is that of the environment and of the file, as a broker in the same place reads them; flags of a
/// running broker are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredBroker {
    /// The first address that the broker listens on; this machine's own one if that is all addresses.
    pub address: String,
    /// The file of its token, if it requires one.
    pub token_file: Option<PathBuf>,
}

impl ConfiguredBroker {
    /// Reads the environment and the configuration file.
    ///
    /// # Errors
    /// The mistakes in them in one line, or the broker listens on any free port.
    pub fn find() -> Result<Self, String> {
        Self::of(&Environment::of_the_process())
    }

    fn of(environment: &Environment) -> Result<Self, String> {
        let config = Config::load(&Options::default(), environment).map_err(|mistakes| {
            let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            mistakes.join("; ")
        })?;
        let address = config.settings.listen.first().map(ToString::to_string).unwrap_or_default();
        if address.ends_with(":0") {
            return Err(format!("the broker listens on {address}, that is on any free port; give it a port"));
        }
        Ok(Self { address: reachable(address), token_file: config.settings.token_file })
    }
}

/// The address of this machine in place of all its addresses.
fn reachable(address: String) -> String {
    let Ok(mut socket) = address.parse::<SocketAddr>() else {
        return address;
    };
    match socket.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => socket.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => socket.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => return address,
    }
    socket.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_first_configured_one_as_this_machine_reaches_it() {
        for (variables, expected) in [
            (&[][..], "127.0.0.1:8889"),
            (&[("PORT", "9000")], "127.0.0.1:9000"),
            (&[("PORT", ""), ("ZAICHIK_LISTEN", "")], "127.0.0.1:8889"),
            (&[("ZAICHIK_LISTEN", "0.0.0.0:9000")], "127.0.0.1:9000"),
            (&[("ZAICHIK_LISTEN", "[::]:9000")], "[::1]:9000"),
            (&[("ZAICHIK_LISTEN", "10.0.0.1:9000, 0.0.0.0:9001")], "10.0.0.1:9000"),
            (&[("ZAICHIK_LISTEN", "broker:9000")], "broker:9000"),
            (&[("ZAICHIK_LISTEN", "unix:/run/z.sock")], "unix:/run/z.sock"),
        ] {
            let found = ConfiguredBroker::of(&Environment::of(variables));
            assert_eq!(found, Ok(ConfiguredBroker { address: expected.to_owned(), token_file: None }));
        }
        let found = ConfiguredBroker::of(&Environment::of(&[("ZAICHIK_TOKEN_FILE", "token")]));
        assert_eq!(found.expect("valid").token_file, Some("token".into()));
    }

    #[test]
    fn a_mistake_and_an_unknown_port_are_errors() {
        for (name, value) in
            [("PORT", "0"), ("PORT", "many"), ("ZAICHIK_LISTEN", "nowhere"), ("ZAICHIK_X", "1")]
        {
            assert!(ConfiguredBroker::of(&Environment::of(&[(name, value)])).is_err(), "{name}={value}");
        }
    }
}
