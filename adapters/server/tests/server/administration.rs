//! Clients, users and grants, while the server runs and while it does not.

use serde_json::{Value, json};

use crate::world::{PASSWORD, World, text};

/// The same story is told to the store and to a running server.
fn in_both_cases(story: fn(&World)) {
    story(&World::new());
    let world = World::new();
    let server = world.serve();
    story(&world);
    server.stop();
}

#[test]
fn clients_are_added_shown_renewed_and_removed() {
    in_both_cases(|world| {
        let added = world.add_client(&["--id", "app"]);
        assert_eq!(added["client_id"], "app");
        assert_eq!(added["grant_types"], json!(["authorization_code", "refresh_token"]));
        let secret = text(&added, "client_secret");
        assert!(secret.starts_with("grk_"));

        let shown = world.run(&["client", "show", "app", "--json"]).json();
        assert_eq!(shown["client_secret"], Value::Null, "shown once");
        assert_eq!(shown["redirect_uris"], json!(["https://app.example/callback"]));
        assert_eq!(shown["scope"], "calendar.read calendar.write");

        let renewed = world.run(&["client", "rotate-secret", "app", "--json"]).json();
        assert_ne!(renewed["client_secret"], added["client_secret"]);
        assert_eq!(renewed["secrets"].as_array().expect("a list").len(), 2);

        let service = ["client", "add", "--name", "Job", "--grant", "client_credentials", "--json"];
        let service = world.run(&service).json();
        assert!(text(&service, "client_id").starts_with("client-"));

        let table = world.run(&["client", "list"]).ok();
        let mut lines = table.lines();
        let header = lines.next().expect("a header");
        let column = header.find("NAME").expect("a column");
        assert_eq!(lines.clone().count(), 2);
        assert!(lines.all(|line| ["App", "Job"].contains(&&line[column..column + 3])), "{table}");

        assert_eq!(world.run(&["client", "remove", "app"]).ok(), "Done.\n");
        let gone = world.run(&["client", "show", "app"]).failed();
        assert!(gone.contains("no client with this client_id"), "{gone}");
        let left = world.run(&["client", "list", "--json"]).json();
        assert_eq!(left.as_array().expect("a list").len(), 1);
    });
}

#[test]
fn a_person_is_told_the_secret_once() {
    let world = World::new();
    let added =
        world.run(&["client", "add", "--name", "App", "--redirect-uri", "https://a.example/"]);
    let added = added.ok();
    assert!(added.contains("client_secret  grk_"), "{added}");
    assert!(added.contains("never again"), "{added}");
    let public = ["--name", "App", "--redirect-uri", "https://a.example/", "--public"];
    let public = world.run(&[&["client", "add"][..], &public].concat()).ok();
    assert!(!public.contains("client_secret"), "{public}");
}

#[test]
fn every_kind_of_client_can_be_asked_for() {
    let world = World::new();
    let flags = [
        "--resource-server",
        "--skip-consent",
        "--pkce-optional",
        "--auth-method=client_secret_basic",
        "--client-uri=https://app.example/",
        "--logo-uri=https://app.example/logo.png",
        "--policy-uri=https://app.example/privacy",
        "--tos-uri=https://app.example/terms",
        "--grant=authorization_code",
        "--redirect-uri=https://app.example/other",
    ];
    let client = world.add_client(&flags);
    for flag in ["resource_server", "skip_consent", "pkce_optional"] {
        assert_eq!(client[flag], true, "{flag}");
    }
    assert_eq!(client["auth_methods"], json!(["client_secret_basic"]));
    assert_eq!(client["grant_types"], json!(["authorization_code"]));
    assert_eq!(client["redirect_uris"].as_array().expect("a list").len(), 2);
    assert_eq!(client["logo_uri"], "https://app.example/logo.png");
    let native = ["--public", "--native", "--localhost-any-port"];
    let native = world.add_client(&native);
    assert_eq!(native["client_type"], "public");
    assert_eq!(native["application_type"], "native");
    assert_eq!(native["localhost_any_port"], true);
}

#[test]
fn a_client_that_cannot_be_registered_is_explained() {
    let world = World::new();
    let add = |more: &[&str]| {
        let args = ["client", "add", "--name", "App", "--redirect-uri", "https://a.example/"];
        world.run(&[&args[..], more].concat()).failed()
    };
    let failed = add(&["--scope", "calendar.read nope"]);
    assert!(failed.contains("no scope nope is defined") && failed.contains("[scopes]"), "{failed}");
    // RFC 9700 section 4.15.1.
    let failed = add(&["--id", "user-1"]);
    assert!(failed.contains("cannot begin with \"user-\""), "{failed}");
    let failed = add(&["--id", "a b"]);
    assert!(failed.contains("1 to 128 characters"), "{failed}");
    let failed = add(&["--grant", "client_credentials", "--public"]);
    assert!(failed.contains("confidential client (RFC 6749 section 4.4)"), "{failed}");
    let failed = add(&["--redirect-uri", "http://app.example/"]);
    assert!(failed.contains("redirect_uri"), "{failed}");
    world.add_client(&["--id", "app"]);
    let failed = add(&["--id", "app"]);
    assert!(failed.contains("a client with this client_id exists"), "{failed}");
    let unknown = world.run(&["client", "add", "--name", "App", "--grant", "password"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn users_are_added_listed_changed_and_removed() {
    in_both_cases(|world| {
        let alice = world.add_user("Alice");
        assert!(text(&alice, "subject").starts_with("user-"));
        world.add_user("bob");
        let taken = ["user", "add", "ALICE", "--password-stdin"];
        let taken = world.run_with(&taken, PASSWORD).failed();
        assert!(taken.contains("exists"), "{taken}");

        let disabled = world.run(&["user", "disable", "alice", "--json"]).json();
        assert_eq!(disabled["disabled"], true);
        let table = world.run(&["user", "list"]).ok();
        let alice_line = table.lines().find(|line| line.starts_with("Alice")).expect("there");
        assert!(alice_line.contains("disabled"), "{table}");
        let enabled = world.run(&["user", "enable", "alice", "--json"]).json();
        assert_eq!(enabled["disabled"], false);
        let set = ["user", "set-password", "alice", "--password-stdin"];
        world.run_with(&set, "another password\n").ok();

        let removed = world.run(&["user", "remove", "alice", "--json"]).json();
        assert_eq!(removed["subject"], alice["subject"]);
        let gone = world.run(&["user", "disable", "alice"]).failed();
        assert_eq!(gone, "there is no user named \"alice\"");
        let again = world.add_user("alice");
        assert_ne!(again["subject"], alice["subject"], "never reassigned");
    });
}

#[test]
fn a_password_is_read_with_care() {
    let world = World::new();
    let add = ["user", "add", "alice", "--password-stdin"];
    for (bad, said) in [
        ("", "at least 8 characters"),
        ("1234567\n", "at least 8 characters"),
        ("12345678\n90", "more than one line"),
        (&*"x".repeat(1025), "more than 1024 bytes"),
    ] {
        let failed = world.run_with(&add, bad).failed();
        assert!(failed.contains(said), "{bad}: {failed}");
    }
    world.run_with(&add, &"x".repeat(1024)).ok();
    let failed = world.run(&["user", "add", "bob"]).failed();
    assert!(failed.contains("--password-stdin"), "{failed}");
    // There is no way to say it where others can read it.
    assert_eq!(world.run(&["user", "add", "bob", "--password=12345678"]).status.code(), Some(2));
}

#[test]
fn grants_are_listed_and_revoked() {
    let world = World::new();
    let client = world.add_client(&["--id", "app"]);
    world.add_user("alice");
    world.add_user("bob");
    let server = world.serve();
    let mut browser = server.browser();
    let [first, second] = ["alice", "bob"].map(|name| {
        let tokens = server.browser().tokens(&client, name);
        text(&tokens, "access_token").to_owned()
    });

    let all = world.run(&["grant", "list", "--json"]).json();
    let active: Vec<&Value> =
        all.as_array().expect("a list").iter().filter(|grant| grant["state"] == "active").collect();
    assert_eq!(active.len(), 2);
    let alices = world.run(&["grant", "list", "--user", "Alice", "--json"]).json();
    assert_eq!(alices[0]["username"], "alice");
    assert_eq!(alices[0]["scope"], "calendar.read");
    let id = text(&alices[0], "id");
    let table = world.run(&["grant", "list"]).ok();
    assert!(table.contains(id), "{table}");

    assert!(browser.is_active(&client, &first));
    world.run(&["grant", "revoke", id]).ok();
    assert!(!browser.is_active(&client, &first));
    assert!(browser.is_active(&client, &second));
    let again = world.run(&["grant", "revoke", id]).failed();
    assert!(again.contains("revoked before"), "{again}");
    let nonsense = world.run(&["grant", "revoke", "nonsense"]).failed();
    assert!(nonsense.contains("grantor grant list"), "{nonsense}");
    // An id is random, and may look like a flag.
    let flag = world.run(&["grant", "revoke", "-hAbcdefghijklm1"]).failed();
    assert!(flag.contains("revoked before"), "{flag}");

    world.run(&["grant", "revoke", "--user", "bob"]).ok();
    assert!(!browser.is_active(&client, &second));

    let third = server.browser().tokens(&client, "alice");
    let third = text(&third, "access_token");
    assert!(browser.is_active(&client, third));
    world.run(&["grant", "revoke", "--client", "app"]).ok();
    assert!(!browser.is_active(&client, third));

    for wrong in [&["grant", "revoke"][..], &["grant", "revoke", "x", "--client", "y"]] {
        assert_eq!(world.run(wrong).status.code(), Some(2), "one of three");
    }
}

#[test]
fn what_is_done_to_an_account_reaches_its_tokens_and_sessions() {
    let world = World::new();
    let client = world.add_client(&[]);
    for name in ["disabled", "changed", "removed"] {
        world.add_user(name);
    }
    let server = world.serve();
    let set = ["user", "set-password", "changed", "--password-stdin"];
    for (name, command) in [
        ("disabled", &["user", "disable", "disabled"][..]),
        ("changed", &set),
        ("removed", &["user", "remove", "removed"]),
    ] {
        let mut browser = server.browser();
        let tokens = browser.tokens(&client, name);
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        assert!(browser.is_active(&client, access));

        world.run_with(command, "another password").ok();
        assert!(!browser.is_active(&client, access), "{name}");
        let refused = browser.refresh(&client, refresh);
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_grant")));
        let page = browser.authorize(text(&client, "client_id"));
        assert!(page.body.contains("name=\"password\""), "the session is over: {}", page.body);
        let signed_in = browser.sign_in(&page, name, PASSWORD);
        assert_eq!(signed_in.location, None, "{name}");
    }
    // What was revoked stays so when the account comes back.
    let mut browser = server.browser();
    world.run(&["user", "enable", "disabled"]).ok();
    let tokens = browser.tokens(&client, "disabled");
    assert!(browser.is_active(&client, text(&tokens, "access_token")));
    let grants = world.run(&["grant", "list", "--user", "disabled", "--json"]).json();
    let states: Vec<&str> =
        grants.as_array().expect("a list").iter().map(|grant| text(grant, "state")).collect();
    assert_eq!(states.iter().filter(|state| **state == "active").count(), 1, "{states:?}");
}

#[test]
fn guesses_are_throttled_and_a_header_does_not_help() {
    // Requirement 6749-080; ATTACKS G12.
    let world = World::new();
    let client = world.add_client(&[]);
    world.add_user("alice");
    let server = world.serve();
    let mut browser = server.browser();
    let page = browser.authorize(text(&client, "client_id"));
    let mut throttled = None;
    for n in 0..30 {
        let spoofed = format!("203.0.113.{n}");
        let headers = [("x-forwarded-for", &*spoofed), ("forwarded", "for=203.0.113.9")];
        let answer = browser.sign_in_with(&page, "alice", "a wrong password", &headers);
        if answer.status == 429 {
            throttled = answer.retry_after;
            break;
        }
    }
    let seconds = throttled.expect("guesses are bounded");
    assert!((1..=6).contains(&seconds), "{seconds}");
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_asking() {
    let world = World::new();
    for args in [&["client", "list"][..], &["user", "remove", "alice"], &["grant", "list"]] {
        let failed = world.run(args).failed();
        assert!(failed.contains("there is no store in"), "{failed}");
        assert!(failed.contains("--storage sled:DIR"), "{failed}");
    }
    assert!(!world.data().exists());
    let memory = ["user", "list", "--storage", "memory:"];
    let failed = world.run(&memory).failed();
    assert!(failed.contains("memory:") && failed.contains("--admin-socket"), "{failed}");
}

#[test]
fn a_server_in_memory_is_administered_over_a_socket_of_its_own() {
    let world = World::new();
    let socket = world.root().join("memory.sock");
    let socket = socket.to_str().expect("text");
    let memory = ["--storage=memory:", "--admin-socket", socket];
    let server = crate::world::Server::start(world.command(&[&["serve"][..], &memory].concat()));
    world
        .run(
            &[&["client", "add", "--name", "Job", "--grant=client_credentials"][..], &memory]
                .concat(),
        )
        .ok();
    let listed = world.run(&[&["client", "list", "--json"][..], &memory].concat()).json();
    assert_eq!(listed.as_array().expect("a list").len(), 1);
    // Another server does not take the socket away.
    let failed = world.run(&[&["serve"][..], &memory].concat()).failed();
    assert!(failed.contains("another server answers"), "{failed}");
    server.stop();
}
