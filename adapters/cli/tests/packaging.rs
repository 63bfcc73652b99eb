//! The commands in the systemd unit and in the image work.
#![cfg(unix)]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const UNIT: &str = include_str!("../../../packaging/zaichik.service");
const DOCKERFILE: &str = include_str!("../../../packaging/Dockerfile");
const DEFAULTS: &str = include_str!("../../../packaging/zaichik.toml");

/// The command, without the broker's variables of the test's own environment.
fn zaichik(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zaichik"));
    for name in [
        "PORT",
        "RUST_LOG",
        "ZAICHIK_SERVER",
        "ZAICHIK_URL",
        "ZAICHIK_CONFIG",
        "ZAICHIK_TOKEN_FILE",
        "ZAICHIK_LISTEN",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.env("XDG_CONFIG_HOME", "/no/such/directory");
    command
}

/// Runs a command; returns the exit code and its output, standard error included.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

/// Writes a file for these tests that only its owner can read; returns its path.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("room on the disk");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("the test owns it");
    path.to_str().expect("text").to_owned()
}

fn token(name: &str) -> String {
    file(name, "0123456789abcdef0123456789abcdef\n")
}

/// The values of an option of the unit.
fn unit(name: &str) -> impl Iterator<Item = &'static str> {
    UNIT.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The arguments of an instruction's last occurrence in the Dockerfile.
fn image(instruction: &str) -> String {
    let joined = DOCKERFILE.replace("\\\n", " ");
    let found = joined.lines().filter_map(|line| line.strip_prefix(instruction)).next_back();
    found.expect("the Dockerfile has the instruction").to_owned()
}

/// The words of a command that the Dockerfile has as a list.
fn words(instruction: &str) -> Vec<String> {
    let text = image(instruction);
    let list = text.find('[').and_then(|begin| text.get(begin..)).expect("a list");
    serde_json::from_str(list).expect("a list of texts")
}

/// The variables in the text, with their values.
fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().map(|variable| variable.split_once('=').expect("a value"))
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).expect("a duration")
}

#[test]
fn the_unit_starts_a_configured_broker() {
    let config = file("unit.toml", DEFAULTS);
    let started = unit("ExecStart").next().expect("the unit starts a command");
    let arguments = started.strip_prefix("/usr/bin/zaichik ").expect("the unit starts the installed command");
    let arguments = arguments.replace("/etc/zaichik/zaichik.toml", &config);
    let mut arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
    arguments.push("--check".to_owned());
    let check = |arguments: &[String]| run(zaichik(arguments).envs(unit("Environment").flat_map(variables)));
    let (code, output) = check(&arguments);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&format!("{config} + env ZAICHIK_LOG_FORMAT")), "{output}");
    // A wrong configuration exits with the code that prevents a restart.
    file("unit.toml", "litsen = []\n");
    let (code, output) = check(&arguments);
    assert!(is_restart_prevented(code), "{output}");
}

/// Whether the unit leaves it at an exit with this code.
fn is_restart_prevented(code: Option<i32>) -> bool {
    let codes = unit("RestartPreventExitStatus").next().expect("the unit lists codes");
    let code = code.expect("it exits").to_string();
    codes.split_whitespace().any(|prevented| prevented == code)
}

#[test]
fn the_unit_restarts_a_broker_that_may_start_the_next_time() {
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("unit-data");
    // What an earlier run left, if it failed.
    drop(std::fs::remove_dir_all(&data));
    std::fs::create_dir(&data).expect("room on the disk");
    let refused = |place: &std::path::Path| {
        let arguments = ["--data".to_owned(), place.display().to_string()];
        run(zaichik(&arguments).env("PORT", "0"))
    };
    let format = data.join("FORMAT");
    std::fs::write(&format, "zaichik journal\nformat 3\n").expect("room on the disk");
    for (place, expected, is_prevented) in [(&data, 9, true), (&format, 74, false)] {
        let (code, output) = refused(place);
        assert_eq!(code, Some(expected), "{output}");
        assert_eq!(is_restart_prevented(code), is_prevented, "{output}");
    }
    std::fs::write(&format, "zaichik journal\n").expect("room on the disk");
    std::fs::write(data.join("segment-0000000001"), "").expect("room on the disk");
    let (code, output) = refused(&data);
    assert_eq!(code, Some(8), "{output}");
    assert!(is_restart_prevented(code), "{output}");
    std::fs::remove_dir_all(&data).expect("it is the test's");
}

#[test]
fn the_unit_goes_on_trying_at_longer_and_longer_intervals() {
    let one = |name: &str| unit(name).next().unwrap_or_else(|| panic!("the unit has {name}"));
    assert_eq!(one("StartLimitIntervalSec"), "0", "it never gives up");
    assert_eq!(one("Restart"), "on-failure");
    assert!(duration(one("RestartSec")) < duration(one("RestartMaxDelaySec")));
    assert!(one("RestartSteps").parse::<u32>().expect("a number") > 0);
    let of_unit = UNIT.split("[Service]").next().expect("its first section");
    assert!(of_unit.contains("StartLimitIntervalSec="), "only that section may have it");
}

#[test]
fn service_managers_wait_longer_than_a_drain() {
    let default = DEFAULTS.lines().find_map(|line| line.strip_prefix("drain = "));
    let default = default.expect("a default").trim_matches('"');
    let killed = unit("TimeoutStopSec").next().expect("the unit has a timeout");
    assert!(duration(killed) > duration(default), "{killed} {default}");
    let environment = image("ENV ");
    let (_, drain) =
        variables(&environment).find(|(name, _)| *name == "ZAICHIK_DRAIN").expect("the image sets it");
    // `docker stop` waits 10 seconds by default.
    assert!(Duration::from_secs(10) > duration(drain), "{drain}");
}

#[test]
fn the_image_starts_with_a_token_or_insecure_and_not_otherwise() {
    assert_eq!(words("ENTRYPOINT "), ["/usr/local/bin/zaichik"]);
    let environment = image("ENV ");
    let check = |token: Option<&str>, more: &[&str]| {
        let mut arguments = words("CMD ");
        arguments.extend(["--check"].iter().chain(more).map(|flag| (*flag).to_owned()));
        let mut command = zaichik(&arguments);
        command.envs(variables(&environment));
        run(token.iter().fold(&mut command, |command, token| command.env("ZAICHIK_TOKEN_FILE", token)))
    };
    for (token, more, expected, line) in [
        (None, &[][..], Some(2), "token_file /run/secrets/zaichik_token: cannot read the token"),
        (Some(""), &[], Some(2), "--insecure"),
        (Some(""), &["--insecure"], Some(0), "is valid"),
        (Some(token("image-token").as_str()), &[], Some(0), "is valid"),
    ] {
        let (code, output) = check(token, more);
        assert_eq!(code, expected, "{output}");
        assert!(output.contains(line), "{output}");
    }
}

#[test]
fn the_health_check_of_the_image_succeeds_only_if_the_broker_answers() {
    let mut health = words("HEALTHCHECK ");
    assert_eq!(health.remove(0), "/usr/local/bin/zaichik");
    let token = token("health-token");
    let wrong = file("wrong-token", "another token that is long enough");
    for (needed, sent, expected) in [(&*token, &*token, 0), (&token, &wrong, 3), ("", "", 0)] {
        let (broker, port) = start(needed);
        let open = format!("0.0.0.0:{port}");
        let config = file("health.toml", &format!("listen = [\"{open}\"]\ntoken_file = \"{sent}\"\n"));
        let places = [
            [("PORT", &*port), ("ZAICHIK_TOKEN_FILE", sent)],
            [("ZAICHIK_LISTEN", &open), ("ZAICHIK_TOKEN_FILE", sent)],
            [("ZAICHIK_CONFIG", &config), ("ZAICHIK_SERVER", "127.0.0.1:1")],
        ];
        let check = || places.map(|variables| run(zaichik(&health).envs(variables)));
        for (code, output) in check() {
            assert_eq!(code, Some(expected), "{output}");
        }
        drop(broker);
        for (code, output) in check() {
            assert_eq!(code, Some(3), "{output}");
        }
    }
    let (code, output) = run(zaichik(&health).env("ZAICHIK_LISTEN", "0.0.0.0:0"));
    assert_eq!(code, Some(2), "{output}");
}

/// Starts a broker that requires this token; returns it and its port.
fn start(token: &str) -> (Running, String) {
    let mut command = zaichik(&[]);
    command.env("PORT", "0").env("ZAICHIK_TOKEN_FILE", token).stderr(Stdio::piped());
    let mut broker = Running(command.spawn().expect("the broker starts"));
    let mut log = BufReader::new(broker.0.stderr.take().expect("a pipe")).lines();
    let port = log
        .find_map(|line| {
            let line = line.expect("text");
            Some(line.split_once("listening zaichik://127.0.0.1:")?.1.to_owned())
        })
        .expect("the log has the address");
    (broker, port)
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
