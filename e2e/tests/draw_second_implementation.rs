//! The draw's specification, `shared-domain/DRAW.md`, against its second implementation, `e2e/draw_check.py`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Straight to standard error: the harness would keep what a passing test prints.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error");
}

/// Exit code and output, or `None` where there is no Python.
fn check(page: &Path) -> Option<(i32, String)> {
    match Command::new("python3").arg("-B").arg(here("draw_check.py")).arg(page).output() {
        Ok(out) => {
            let text =
                format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            Some((out.status.code().expect("an exit code"), text))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            say("SKIPPED: there is no python3, the draw's second implementation was not run");
            None
        }
        Err(error) => panic!("python3: {error}"),
    }
}

#[test]
fn python_computes_every_vector() {
    let Some((code, text)) = check(&here("../shared-domain/DRAW.md")) else { return };
    say(text.lines().last().unwrap_or_default());
    assert_eq!(code, 0, "{text}");
}

/// That it compares at all: a page with one wrong character in each kind of vector.
#[test]
fn python_names_what_differs() {
    let page = std::fs::read_to_string(here("../shared-domain/DRAW.md")).expect("DRAW.md");
    let folder = tempfile::tempdir().expect("a folder");
    let changed = |from: &str, to: &str| {
        assert!(page.contains(from), "{from}");
        let path = folder.path().join("DRAW.md");
        std::fs::write(&path, page.replacen(from, to, 1)).expect("written");
        path
    };
    for (from, to, says) in [
        ("\"max_winners\":2", "\"max_winners\":1", "plain: differs in winners, alternates"),
        ("\"method\":\"ARRIVAL\"", "\"method\":\"RANDOM\"", "arrival: differs in winners, alternates"),
        ("\"target\": 100", "\"target\": 101", "average of 100 over 12 prizes: differs in amounts"),
    ] {
        let Some((code, text)) = check(&changed(from, to)) else { return };
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(says), "{text}");
    }
}
