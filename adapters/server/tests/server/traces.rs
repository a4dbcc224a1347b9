//! `grantor serve --trace-file` and `grantor explain`.

use std::os::unix::fs::PermissionsExt as _;

use crate::world::{Server, World};

#[test]
fn why_a_client_was_refused_last_night() {
    let world = World::new();
    let client = world.add_client(&[]);
    let (id, secret) = (
        client["client_id"].as_str().expect("text"),
        client["client_secret"].as_str().expect("text"),
    );
    let server = Server::start(world.command(&["serve", "--trace-file", "traces.jsonl"]));
    let code = format!("grc_{}", "A".repeat(64));
    for _ in 0..2 {
        let answer = server.browser().post(
            "/token",
            &[
                ("client_id", id),
                ("client_secret", secret),
                ("grant_type", "authorization_code"),
                ("code", &code),
            ],
        );
        assert_eq!(answer.status, 400);
    }
    let wrong = [
        ("client_id", id),
        ("client_secret", "wrong"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "some"),
    ];
    assert_eq!(server.browser().post("/token", &wrong).status, 401);
    server.stop();

    let file = world.root().join("traces.jsonl");
    let mode = std::fs::metadata(&file).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(&file).expect("written");
    assert!(!written.contains(secret) && !written.contains(&code[4..]), "{written}");

    let all = world.run(&["explain", "traces.jsonl"]).ok();
    assert_eq!(all.matches("replayed  the same decision").count(), 3, "{all}");
    assert!(all.contains("refused: there is no such code"), "{all}");
    assert!(all.contains("told in the answer: invalid_grant"), "{all}");
    let last = world.run(&["explain", "traces.jsonl", "--last", "1", "--client", id]).ok();
    assert!(
        last.contains("because   RFC 6749 section 3.2.1: the client secret is wrong"),
        "{last}"
    );
    let none = world.run(&["explain", "traces.jsonl", "--client", "another"]).ok();
    assert_eq!(none, "There is no such decision.\n");
}

#[test]
fn what_cannot_be_explained_is_said() {
    let world = World::new();
    std::fs::write(world.root().join("spoiled"), "\n{\"format\":3,\n{\"format\":7}\n")
        .expect("written");
    let ran = world.run(&["explain", "spoiled"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("spoiled, line 2: this is not a trace"), "{}", ran.stderr);
    // Cut short in the middle of a character.
    std::fs::write(world.root().join("cut"), b"{\"format\":3,\"x\":\"\xc3\n{\"format\":7}\n")
        .expect("written");
    let ran = world.run(&["explain", "cut"]);
    assert!(ran.stderr.contains("cut, line 1: this is not a trace"), "{}", ran.stderr);
    let newer = world.run_with(&["explain", "-"], "{\"format\":7}\n");
    assert!(newer.stderr.contains("has format 7, and this version reads 3"), "{}", newer.stderr);
    let failed = world.run(&["explain", "missing"]).failed();
    assert!(failed.contains("cannot read missing"), "{failed}");
    let failed = world.run(&["serve", "--trace-file", "no/such/place"]).failed();
    assert!(failed.contains("cannot write the trace file no/such/place"), "{failed}");
}
