//! Who may connect to a broker command.

use zaichik_tokio::{Client, ClientError};

use crate::directory::Directory;
use crate::outcome::{refused, run, text, unconfigured};
use crate::process::Broker;
use crate::script;

/// Wrong tokens sent in a row.
const ATTEMPTS: usize = 50;

/// An address that other machines can reach needs a token or `--insecure`.
pub fn an_open_address_without_a_token_is_refused(path: &str) {
    let directory = Directory::new();
    let errors = refused(run(path, &directory, &["--listen", "0.0.0.0:0", "--listen", "127.0.0.1:0"], &[]));
    assert!(
        errors.len() == 1
            && errors[0]
                .contains("--listen: listen = \"0.0.0.0:0\" lets other machines connect without a token")
            && errors[0].contains("--insecure"),
        "{errors:?}"
    );
    let open = ["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0", "--insecure"];
    let broker = Broker::run(unconfigured(path, &directory).args(open));
    assert!(broker.start.iter().any(|line| line.contains("auth: none; anyone who can connect")));
    broker.stop();
}

/// Clients with the token can connect; others cannot.
pub fn only_clients_with_the_token_can_connect(path: &str) {
    let directory = Directory::new();
    let token = "0123456789abcdef0123456789abcdef";
    let file = directory.write("token", &format!("{token}\n"));
    let listen = ["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"];
    let broker = Broker::run(unconfigured(path, &directory).args(listen).env("ZAICHIK_TOKEN_FILE", &file));
    assert!(broker.start.iter().any(|line| line.contains(&format!("auth: token from {file}"))));
    assert!(!broker.start.iter().any(|line| line.contains("other users")));
    script::block_on(async {
        let builder = || Client::builder(&broker.address()).reconnect(false);
        builder()
            .token(token)
            .connect()
            .await
            .expect("the right token")
            .ping()
            .await
            .expect("the broker answers");
        let later = token.replacen('f', "g", 2);
        let wrong = [
            "",
            "0",
            &token[1..],
            &token[..31],
            "0123456789abcdef0123456789abcdeg",
            "1123456789abcdef0123456789abcdef",
            &later,
            &token.to_uppercase(),
            &format!("{token}0"),
            &format!("{token}\n"),
            &format!("{token}\0"),
            &format!(" {token}"),
            &format!("x{token}"),
            &token.repeat(2),
            &format!("{token}\n{token}"),
            &format!("{token}{}", "x".repeat(992)),
        ];
        for wrong in wrong {
            let error = builder().token(wrong).connect().await.expect_err("the wrong token");
            assert!(matches!(error, ClientError::Ended(_)), "{wrong:?}: {error}");
        }
    });
    broker.stop();
}

/// The log names the peer of a client without the token, and does not grow with each attempt.
pub fn a_client_without_the_token_is_logged_with_its_address(path: &str) {
    let directory = Directory::new();
    let file = directory.write("token", "0123456789abcdef0123456789abcdef");
    let broker = Broker::run(unconfigured(path, &directory).args(["--port=0", "--token-file", &file]));
    script::block_on(async {
        for _ in 0..ATTEMPTS {
            let builder = Client::builder(&broker.address()).reconnect(false).token("guessed");
            builder.connect().await.expect_err("the wrong token");
        }
    });
    broker.signal("TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("client rejected: ")).collect();
    let first = warnings.first().expect("a warning");
    let expected = ["WARN", "the token is missing or wrong", "peer=\"127.0.0.1:", "unreported=0"];
    assert!(expected.iter().all(|part| first.contains(part)), "{first}");
    assert!(!log.contains("guessed"), "{log}");
    // One per second; the attempts take less than a second each, even on a slow machine.
    assert!(warnings.len() < ATTEMPTS, "{log}");
}

/// A short token is an error; a token file that others can read is a warning.
pub fn a_short_token_is_refused_and_a_readable_file_is_reported(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let file = directory.write("token", "secret\n");
    let errors = refused(run(path, &directory, &["--token-file", &file, "--port=0"], &[]));
    assert!(
        errors.len() == 1
            && errors[0].contains("the token has 6 bytes, the minimum is 32")
            && errors[0].contains("openssl rand -hex 32")
            && !errors[0].contains("openssl rand -hex 32 >"),
        "the advice must not overwrite the file: {errors:?}"
    );
    let errors = refused(run(path, &directory, &["config", "check", "--token-file", "none"], &[]));
    assert!(errors.len() == 1 && errors[0].contains("token_file none: cannot read the token"), "{errors:?}");
    directory.write("token", &"x".repeat(32));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("the test owns it");
    let output = run(path, &directory, &["config", "check", "--token-file", &file], &[]);
    let stderr = text(output.stderr);
    assert!(output.status.success() && stderr.contains("other users can read"), "{stderr}");
    let broker = Broker::run(unconfigured(path, &directory).args(["--port=0", "--token-file", &file]));
    assert!(broker.start.iter().any(|line| line.contains("other users can read")));
    broker.stop();
}
