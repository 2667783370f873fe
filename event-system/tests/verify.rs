//! `event-system verify` as people run it: exit codes, and the name of what was tampered with.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// A draw of shared-domain's DRAW.md: its record and its list.
fn vector(name: &str) -> (Value, Vec<String>) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared-domain/DRAW.md");
    let page = std::fs::read_to_string(page).expect("DRAW.md");
    let json = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("a json block");
    let vectors: Value = serde_json::from_str(json).expect("JSON");
    let draws = vectors["draws"].as_array().expect("draws");
    let vector = draws.iter().find(|v| v["name"] == name).expect("a vector of that name");
    let lines = vector["entrants"].as_array().expect("entrants").iter();
    let lines = lines.map(|e| format!("{},{}", e[0].as_str().expect("id"), e[1])).collect();
    (vector["record"].clone(), lines)
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

fn run(args: &[&str], stdin: Option<&str>) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_event-system"))
        .arg("verify")
        .args(args)
        .env_remove("DRAND_CHAINS_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    // Who does not read its input may be gone already.
    drop(input.write_all(stdin.unwrap_or_default().as_bytes()));
    drop(input);
    let out = child.wait_with_output().expect("ends");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code().expect("an exit code"), text)
}

/// Exit code and output for a vector after a change of record and list.
fn verify(name: &str, change: impl FnOnce(&mut Value, &mut Vec<String>)) -> (i32, String) {
    let (mut record, mut lines) = vector(name);
    change(&mut record, &mut lines);
    let files = Files::new();
    let record = files.write("record.json", &record.to_string());
    let list = files.write("list.csv", &format!("entry_id,weight\n{}\n", lines.join("\n")));
    run(&[record.to_str().expect("text"), "--entrants", list.to_str().expect("text")], None)
}

#[test]
fn honest_draws_verify() {
    for name in ["plain", "weights", "beacon", "beacon, list frozen too late for it", "arrival"] {
        let (code, text) = verify(name, |_, _| {});
        assert_eq!(code, 0, "{name}: {text}");
        assert!(text.ends_with("the draw verifies\n"), "{text}");
    }
    let (code, text) = verify("disqualified until nobody is left", |_, _| {});
    assert_eq!((code, text.contains("2 disqualified")), (0, true), "{text}");
}

#[test]
fn what_was_tampered_with_is_named() {
    let fails = |name: &str, what: &str, change: &dyn Fn(&mut Value, &mut Vec<String>)| {
        let (code, text) = verify(name, change);
        assert_eq!(code, 1, "{what}: {text}");
        assert!(text.ends_with(&format!("the draw does not verify: {what}\n")), "{what}: {text}");
        assert!(text.contains(&format!("FAILED       {what}")), "{what}: {text}");
    };
    let zeros = "0".repeat(64);
    fails("weights", "list", &|_, lines| lines.swap(0, 1));
    fails("weights", "list", &|_, lines| lines[2] = lines[2].replace(",1", ",2"));
    fails("weights", "list", &|_, lines| lines.truncate(5));
    fails("weights", "winners", &|record, _| record["winners"].as_array_mut().expect("winners").swap(0, 1));
    fails("weights", "commitment", &|record, _| record["seed"] = json!(zeros));
    fails("weights", "alternates", &|record, _| {
        record["alternates"].as_array_mut().expect("alternates").swap(0, 1)
    });
    fails("disqualified until nobody is left", "disqualified", &|record, _| {
        record["disqualified"][1]["replaced_by"] = record["disqualified"][0]["entry_id"].clone();
    });
    fails("disqualified until nobody is left", "winners", &|record, _| {
        record["winners"][1] = record["disqualified"][0]["replaced_by"].clone();
        record["disqualified"].as_array_mut().expect("history").pop();
        record["winners"][0] = Value::Null;
    });
    fails("beacon", "beacon", &|record, _| record["beacon"]["round"] = json!(124));
    fails("beacon", "beacon", &|record, _| record["beacon"]["randomness"] = json!(zeros));
    fails("beacon", "trust", &|record, _| record["frozen_at"] = json!("2023-08-23T15:15:10Z"));
}

#[test]
fn without_a_list_it_says_what_it_could_not_check() {
    let (record, _) = vector("plain");
    let (code, text) = run(&["-"], Some(&record.to_string()));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing failed, but 4 checks could not be made"), "{text}");
    let mut record = record;
    record["seed"] = json!("1".repeat(64));
    assert_eq!(run(&["-"], Some(&record.to_string())).0, 1);
}

#[test]
fn what_cannot_be_read_is_usage() {
    let files = Files::new();
    let (record, lines) = vector("plain");
    let good = files.write("record.json", &record.to_string());
    let good = good.to_str().expect("text");
    let uses = |args: &[&str], says: &str| {
        let (code, text) = run(args, None);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    };
    uses(&[], "RECORD");
    uses(&["/nonexistent"], "RECORD: /nonexistent");
    uses(&[files.write("no.json", "{}").to_str().expect("text")], "is no draw record");
    uses(&[good, "--entrants", "/nonexistent"], "--entrants: /nonexistent");
    let headless = files.write("headless.csv", &lines.join("\n"));
    uses(&[good, "--entrants", headless.to_str().expect("text")], "line 1: must be the header");
    let broken = files.write("broken.csv", &format!("entry_id,weight\r\n{}\r\nx,1\r\n", lines[0]));
    uses(&[good, "--entrants", broken.to_str().expect("text")], "line 3: ");
    let chains = files.write("chains.json", "[]x");
    uses(&[good, "--drand-chains-file", chains.to_str().expect("text")], "DRAND_CHAINS_FILE");
}
