//! The contenders: how each one is found, configured and started, and notes on its figures.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::dialect::Dialect;
use crate::wire::free_port;

/// The program of `RabbitMQ` in Debian's package.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Contender {
    Zaichik,
    ZaichikSpin,
    ZaichikAsyncStd,
    Relay64,
    Relay256,
    Relay1024,
    RelaySpin,
    Nats,
    JetStream,
    RabbitMq,
    Redis,
    Mosquitto,
}

use Contender::{
    JetStream, Mosquitto, Nats, RabbitMq, Redis, Relay64, Relay256, Relay1024, RelaySpin, Zaichik,
    ZaichikAsyncStd, ZaichikSpin,
};

impl Contender {
    /// All contenders, in the order of the tables.
    pub(crate) const ALL: [Self; 12] = [
        Relay64,
        Relay256,
        Relay1024,
        RelaySpin,
        Zaichik,
        ZaichikSpin,
        ZaichikAsyncStd,
        Nats,
        JetStream,
        RabbitMq,
        Redis,
        Mosquitto,
    ];

    /// Its name on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Zaichik => "zaichik",
            ZaichikSpin => "zaichik-spin",
            ZaichikAsyncStd => "zaichik-async-std",
            Relay64 => "relay-64k",
            Relay256 => "relay-256k",
            Relay1024 => "relay-1m",
            RelaySpin => "relay-spin",
            Nats => "nats",
            JetStream => "jetstream",
            RabbitMq => "rabbitmq",
            Redis => "redis",
            Mosquitto => "mosquitto",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Zaichik => "Zaichik, tokio",
            ZaichikSpin => "Zaichik, spins 50 us",
            ZaichikAsyncStd => "Zaichik, async-std",
            Relay64 => "relay 64 KiB",
            Relay256 => "relay 256 KiB",
            Relay1024 => "relay 1 MiB",
            RelaySpin => "relay, spins 50 us",
            Nats => "nats-server",
            JetStream => "nats-server, JetStream",
            RabbitMq => "rabbitmq-server",
            Redis => "redis-server",
            Mosquitto => "mosquitto",
        }
    }

    /// The contenders with this name; `relay` means every relay.
    pub(crate) fn named(name: &str) -> Vec<Self> {
        let is_requested =
            |contender: &Self| contender.name() == name || (name == "relay" && contender.is_relay());
        Self::ALL.into_iter().filter(is_requested).collect()
    }

    pub(crate) const fn is_relay(self) -> bool {
        matches!(self, Relay64 | Relay256 | Relay1024 | RelaySpin)
    }

    /// Whether it spins before it waits; measured for latencies only.
    pub(crate) const fn spins(self) -> bool {
        matches!(self, RelaySpin | ZaichikSpin)
    }

    pub(crate) const fn is_zaichik(self) -> bool {
        matches!(self, Zaichik | ZaichikSpin | ZaichikAsyncStd)
    }

    /// Whether its messages can be shared among members that acknowledge each of them.
    pub(crate) const fn has_queues(self) -> bool {
        matches!(self, Zaichik | ZaichikAsyncStd | JetStream | RabbitMq | Redis)
    }

    /// Whether it takes part in nothing but queues.
    pub(crate) const fn is_queue(self) -> bool {
        matches!(self, JetStream | RabbitMq)
    }

    /// The protocol of its clients, with which it publishes and subscribes.
    pub(crate) fn dialect(self) -> Result<Dialect> {
        Ok(match self {
            Zaichik | ZaichikSpin | ZaichikAsyncStd => Dialect::Zaichik,
            Relay64 | Relay256 | Relay1024 | RelaySpin => Dialect::Relay,
            Nats => Dialect::Nats,
            Redis => Dialect::Redis,
            Mosquitto => Dialect::Mqtt,
            JetStream | RabbitMq => bail!("{} takes part in queues only", self.title()),
        })
    }

    const fn install(self) -> &'static str {
        match self {
            Zaichik | ZaichikSpin | ZaichikAsyncStd => {
                "cargo build --release -p zaichik -p zaichik-async-std"
            }
            Relay64 | Relay256 | Relay1024 | RelaySpin => "it is part of this program",
            Nats | JetStream => {
                "apt-get install nats-server, or https://docs.nats.io/running-a-nats-service/introduction/installation"
            }
            RabbitMq => "apt-get install rabbitmq-server, or https://www.rabbitmq.com/docs/download",
            Redis => {
                "apt-get install redis-server, or https://redis.io/docs/latest/operate/oss_and_stack/install/"
            }
            Mosquitto => "apt-get install mosquitto, or https://mosquitto.org/download/",
        }
    }

    /// Notes for comparing its figures.
    pub(crate) const fn caveat(self) -> &'static str {
        match self {
            Zaichik | ZaichikSpin | ZaichikAsyncStd => {
                "frames of one record, unacknowledged; topics that lose nothing and keep messages until their \
                 subscriptions have them; publishers are slowed only at nine tenths of the broker's memory (a quarter \
                 of the machine's), so peak memory shows how far subscribers fell behind"
            }
            Relay64 | Relay256 | Relay1024 | RelaySpin => {
                "not a broker: it knows no messages, stores nothing and waits for its slowest subscriber; it sends \
                 payloads only"
            }
            Nats => {
                "disconnects slow consumers: max_pending and write_deadline are high enough to prevent that; without \
                 acknowledgements it guarantees at most once"
            }
            JetStream => {
                "a stream in memory with the retention of a work queue, and a pull consumer; it does not answer \
                 acknowledgements: the run ends when its consumer has none pending"
            }
            RabbitMq => {
                "a queue in memory and messages that are not persistent, with confirms; it does not answer acknowledgements: \
                 the run ends when all are sent; the epmd that it starts goes on running"
            }
            Redis => {
                "disconnects subscribers whose output exceeds a limit: client-output-buffer-limit is off; it answers \
                 each publish, and the client reads the answers; single-threaded; at most once; persistence is off"
            }
            Mosquitto => {
                "drops messages when a queue is full: the limits are off; single-threaded; QoS 0, so at most once; \
                 persistence is off"
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) zaichik: PathBuf,
    pub(crate) zaichik_async_std: PathBuf,
    /// This program, which is also the relay.
    pub(crate) own: PathBuf,
}

impl Programs {
    /// The given programs, or else those in this program's folder.
    pub(crate) fn new(zaichik: Option<PathBuf>, zaichik_async_std: Option<PathBuf>) -> Result<Self> {
        let own = env::current_exe().context("finding this program")?;
        let beside = |name: &str| own.with_file_name(name);
        let zaichik = zaichik.unwrap_or_else(|| beside("zaichik"));
        let zaichik_async_std = zaichik_async_std.unwrap_or_else(|| beside("zaichik-async-std"));
        Ok(Self { zaichik, zaichik_async_std, own })
    }

    /// The contender's program.
    ///
    /// # Errors
    /// It is not installed; the error says how to install it.
    pub(crate) fn find(&self, contender: Contender) -> Result<PathBuf> {
        let given = |path: &Path| {
            ensure!(
                path.is_file(),
                "{} does not exist; build it with: {}",
                path.display(),
                contender.install()
            );
            Ok(path.to_owned())
        };
        let name = match contender {
            Zaichik | ZaichikSpin => return given(&self.zaichik),
            ZaichikAsyncStd => return given(&self.zaichik_async_std),
            Relay64 | Relay256 | Relay1024 | RelaySpin => return Ok(self.own.clone()),
            Nats | JetStream => "nats-server",
            // The one in PATH switches to another user.
            RabbitMq if Path::new(RABBITMQ).is_file() => return Ok(RABBITMQ.into()),
            RabbitMq => "rabbitmq-server",
            Redis => "redis-server",
            Mosquitto => "mosquitto",
        };
        match installed(name) {
            Some(path) => Ok(path),
            None => bail!("{name} is not installed; install it with: {}", contender.install()),
        }
    }

    /// The version that the contender reports.
    pub(crate) fn version(&self, contender: Contender) -> Result<String> {
        let argument = match contender {
            Mosquitto => "-h",
            RabbitMq => "version",
            _ => "--version",
        };
        let path = if contender == RabbitMq {
            self.find(RabbitMq)?.with_file_name("rabbitmqctl")
        } else {
            self.find(contender)?
        };
        let output = Command::new(&path).arg(argument).output();
        let output = output.with_context(|| format!("asking {} for its version", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next().unwrap_or("unknown").trim().to_owned();
        Ok(if contender.is_zaichik() {
            format!("{line} on {}", if contender == ZaichikAsyncStd { "async-std" } else { "tokio" })
        } else {
            line
        })
    }

    /// The command that starts the contender on a port of 127.0.0.1; its configuration is written to `folder`.
    pub(crate) fn command(&self, contender: Contender, port: u16, folder: &Path) -> Result<Command> {
        let mut command = Command::new(self.find(contender)?);
        let port = port.to_string();
        command.env_remove("RUST_LOG").env_remove("PORT").current_dir(folder);
        if contender.is_zaichik() {
            command.env("RUST_LOG", "zaichik=warn");
        }
        if contender == RabbitMq {
            let home = folder.join("rabbitmq/home");
            std::fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
            command.envs(rabbitmq(&port, free_port()?, folder));
        }
        for argument in settings(contender) {
            command.arg(argument.replace("{port}", &port));
        }
        if let Some(config) = config(contender) {
            let path = folder.join(format!("{}.conf", contender.name()));
            std::fs::write(
                &path,
                config.replace("{port}", &port).replace("{folder}", &folder.to_string_lossy()),
            )
            .with_context(|| format!("writing {}", path.display()))?;
            command.arg("-c").arg(path);
        }
        Ok(command)
    }
}

/// The environment in which `RabbitMQ` runs in the foreground and keeps its files in a folder.
fn rabbitmq(port: &str, distribution: u16, folder: &Path) -> Vec<(&'static str, String)> {
    let folder = folder.join("rabbitmq");
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    vec![
        ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
        ("RABBITMQ_NODENAME", "zaichik-bench@localhost".to_owned()),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_NODE_PORT", port.to_owned()),
        ("RABBITMQ_DIST_PORT", distribution.to_string()),
        ("RABBITMQ_MNESIA_BASE", file("data")),
        ("RABBITMQ_LOG_BASE", file("log")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins")),
        ("RABBITMQ_CONFIG_FILE", file("rabbitmq")),
        ("RABBITMQ_CONF_ENV_FILE", file("environment")),
        ("HOME", file("home")),
    ]
}

/// Where an installed program is.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin"].map(PathBuf::from);
    let mut found = env::split_paths(&path).chain(system).map(|folder| folder.join(name));
    found.find(|path| path.is_file())
}

pub(crate) fn settings(contender: Contender) -> Vec<&'static str> {
    let all = match contender {
        Zaichik | ZaichikAsyncStd => "--port {port}",
        ZaichikSpin => "--port {port} --busy-poll 50us",
        Relay64 => "relay --port {port} --buffer 65536",
        Relay256 => "relay --port {port} --buffer 262144",
        Relay1024 => "relay --port {port} --buffer 1048576",
        RelaySpin => "relay --port {port} --buffer 262144 --spin 50",
        Redis => {
            return [
                "--port {port} --bind 127.0.0.1 --protected-mode no --appendonly no --maxclients 15000",
                "--loglevel warning --daemonize no",
            ]
            .iter()
            .flat_map(|text| text.split(' '))
            .chain(["--save", "", "--client-output-buffer-limit", "pubsub 0 0 0"])
            .collect();
        }
        Nats | JetStream | RabbitMq | Mosquitto => return Vec::new(),
    };
    all.split(' ').collect()
}

/// The configuration file of a contender that arguments cannot configure.
pub(crate) const fn config(contender: Contender) -> Option<&'static str> {
    match contender {
        Nats => Some(
            "listen: 127.0.0.1:{port}\nmax_pending: 4GB\nwrite_deadline: \"120s\"\nping_interval: \"1h\"\n\
             max_connections: 64000\nmax_payload: 1MB\n",
        ),
        JetStream => Some(
            "listen: 127.0.0.1:{port}\nmax_pending: 4GB\nwrite_deadline: \"120s\"\nping_interval: \"1h\"\n\
             max_payload: 1MB\njetstream { store_dir: \"{folder}/jetstream\" }\n",
        ),
        Mosquitto => Some(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\nsys_interval 0\n\
             max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nuser root\n",
        ),
        Zaichik | ZaichikSpin | ZaichikAsyncStd | Relay64 | Relay256 | Relay1024 | RelaySpin | RabbitMq
        | Redis => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_selects_one_contender_and_relay_selects_four() {
        for contender in Contender::ALL {
            assert_eq!(Contender::named(contender.name()), [contender]);
        }
        assert_eq!(Contender::named("relay").len(), 4);
        assert!(Contender::named("rabbit").is_empty());
    }

    #[test]
    fn the_error_for_a_missing_program_says_how_to_build_it() {
        let programs = Programs::new(Some("/no/such/zaichik".into()), None).unwrap();
        let error = programs.find(Zaichik).unwrap_err().to_string();
        assert!(error.contains("/no/such/zaichik") && error.contains("cargo build --release"), "{error}");
    }
}
