//! Runs the harness with the relay alone, which needs no installed or built broker.

use std::fs;
use std::process::Command;

#[test]
fn a_quick_run_prints_a_table_and_writes_json_and_a_plot() {
    let folder = std::env::temp_dir().join(format!("zaichik-bench-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (json, plot) = (folder.join("out.json"), folder.join("out.svg"));
    let output = Command::new(env!("CARGO_BIN_EXE_zaichik-bench"))
        .args(["--quick", "--markdown", "--messages-scale", "0.1"])
        .args(["--only", "1to1,4to4,echo,rate,startup", "--contenders", "relay-256k"])
        .arg("--json")
        .arg(&json)
        .arg("--plot")
        .arg(&plot)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("| relay 256 KiB (best) |"), "{stdout}");
    assert!(!stdout.contains("failed"), "{stdout}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let tables = report["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 5);
    assert!(tables.iter().all(|table| table["rows"][0]["samples"].as_array().unwrap().len() == 1));
    assert!(tables[0]["rows"][0]["samples"][0]["rate"].as_f64().unwrap() > 0.0);
    assert!(fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_error_for_a_missing_contender_says_how_to_build_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_zaichik-bench"))
        .args(["--contenders", "zaichik", "--zaichik", "/no/such/zaichik"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cargo build --release -p zaichik -p zaichik-async-std"), "{stderr}");
}

#[test]
fn the_error_for_an_unknown_storage_workload_names_all_workloads() {
    let output = Command::new(env!("CARGO_BIN_EXE_zaichik-bench"))
        .args(["storage", "--only", "durable,durability"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("\"durability\"; there are durable, consume, one, cold, beside, reopen"),
        "{stderr}"
    );
}
