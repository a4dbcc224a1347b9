//! What the process is told, and what it says about mistakes.

use crate::world::{Ran, World, grantor};

/// `grantor check` on this file, with nothing else around.
fn check(content: &str, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let root = tempfile::TempDir::new().expect("a temporary directory");
    std::fs::write(root.path().join("grantor.toml"), content).expect("written");
    let mut command = grantor(&["check", "--config", "grantor.toml"]);
    command.args(args).envs(env.iter().copied()).current_dir(root.path());
    Ran::of(command, "")
}

fn shown(output: &str, name: &str) -> String {
    let mut lines = output.lines().map(str::split_whitespace);
    let mut line = lines
        .find(|line| line.clone().next() == Some(name))
        .unwrap_or_else(|| panic!("no {name} in {output}"));
    line.next();
    line.collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_outweigh_the_environment_which_outweighs_the_file_which_outweighs_the_defaults() {
    let defaults = "issuer = \"http://localhost:1\"";
    let file = "issuer = \"http://localhost:1\"\nlisten = \"127.0.0.1:1\"\nstorage = \"sled:file\"\n\
                admin_socket = \"file.sock\"";
    let env = [
        ("GRANTOR_ISSUER", "http://localhost:2"),
        ("GRANTOR_LISTEN", "127.0.0.1:2"),
        ("GRANTOR_STORAGE", "sled:environment"),
        ("GRANTOR_ADMIN_SOCKET", "environment.sock"),
    ];
    let flags = [
        "--issuer=http://localhost:3",
        "--listen=127.0.0.1:3",
        "--storage=sled:flag",
        "--admin-socket=flag.sock",
    ];
    let names = ["issuer", "listen", "storage", "admin_socket"];
    for (output, expected) in [
        (
            check(defaults, &[], &[]),
            [
                "http://localhost:1",
                "127.0.0.1:8400",
                "sled:./grantor-data",
                "./grantor-data/admin.sock",
            ],
        ),
        (check(file, &[], &[]), ["http://localhost:1", "127.0.0.1:1", "sled:file", "file.sock"]),
        (
            check(file, &[], &env),
            ["http://localhost:2", "127.0.0.1:2", "sled:environment", "environment.sock"],
        ),
        (
            check(file, &flags, &env),
            ["http://localhost:3", "127.0.0.1:3", "sled:flag", "flag.sock"],
        ),
    ] {
        let output = output.ok();
        assert_eq!(names.map(|name| shown(&output, name)), expected);
    }
}

#[test]
fn everything_that_can_be_configured_arrives() {
    let output = check(
        r#"
        issuer = "https://auth.example.com/tenant"
        listen = "0.0.0.0:8400"
        tls_terminated = true
        storage = "memory:"
        client_cache = "10s"
        log_format = "json"
        default_scope = "a b"
        [scopes]
        a = { description = "A", ko = "에이" }
        b.description = "B"
        [policy]
        interaction_lifetime = "5m"
        code_lifetime = "30s"
        access_token_lifetime = "10m"
        session_lifetime = "1h"
        secret_overlap = "7d"
        remember_consent = false
        remember_public_https = false
        [refresh]
        rotation = "public-clients"
        idle_lifetime = "2d"
        absolute_lifetime = "30d"
        retry_window = "0s"
        "#,
        &[],
        &[],
    );
    let output = output.ok();
    for (name, value) in [
        ("issuer", "https://auth.example.com/tenant"),
        ("listen", "0.0.0.0:8400"),
        ("storage", "memory:"),
        ("client_cache", "10s"),
        ("scopes", "a b"),
        ("default_scope", "a b"),
        ("interaction_lifetime", "5m"),
        ("code_lifetime", "30s"),
        ("access_token_lifetime", "10m"),
        ("session_lifetime", "1h"),
        ("secret_overlap", "7d"),
        ("refresh.rotation", "public-clients"),
        ("refresh.idle_lifetime", "2d"),
        ("refresh.absolute_lifetime", "30d"),
        ("refresh.retry_window", "0s"),
    ] {
        assert_eq!(shown(&output, name), value, "{name}");
    }
    let off = check("issuer = \"http://localhost\"\n[refresh]\nenabled = false", &[], &[]);
    assert_eq!(shown(&off.ok(), "refresh.enabled"), "false");
}

#[test]
fn a_mistake_is_explained_with_its_line_and_what_to_write_instead() {
    for (content, said) in [
        (
            "isuer = \"https://h\"",
            "line 1: there is no setting `isuer` here; did you mean `issuer`?",
        ),
        (
            "\n[policy]\ncode_lifetim = \"60s\"",
            "line 3: there is no setting `code_lifetim` here; did you mean `code_lifetime`?",
        ),
        (
            "[refresh]\nzzz = 1",
            "line 2: there is no setting `zzz` here; there are enabled, rotation, idle_lifetime, \
             absolute_lifetime, retry_window",
        ),
        (
            "[policy]\ncode_lifetime = 60",
            "line 2: this is integer `60`; write a time with its unit in quotes, such as \"60s\", \
             \"15m\", \"8h\" or \"14d\"",
        ),
        (
            "[policy]\naccess_token_lifetime = \"an hour\"",
            "line 2: this is string \"an hour\"; write a time with its unit in quotes, such as",
        ),
        (
            "[policy]\ncode_lifetime = \"1h\"",
            "line 2: code_lifetime must be at most 10 minutes (RFC 6749 section 4.1.2); write \"60s\"",
        ),
        (
            "[refresh]\n\nidle_lifetime = \"0s\"",
            "line 3: refresh.idle_lifetime must be between one second and ten years, such as \"1h\"",
        ),
        (
            "[refresh]\nretry_window = \"1h\"",
            "line 2: refresh.retry_window must be at most 10 minutes; write \"60s\"",
        ),
        (
            "[refresh]\nrotation = \"never\"",
            "line 2: `never` is none of the choices; write \"always\" or \"public-clients\"",
        ),
        (
            "issuer = \"http://auth.example.com\"",
            "line 1: the issuer must be https; http is accepted for 127.0.0.1, [::1] and localhost only",
        ),
        (
            "listen = \"localhost\"",
            "line 1: `localhost` is not an address to listen on; write an IP address and a port, such \
             as \"127.0.0.1:8400\"",
        ),
        ("storage = \"redis:x\"", "line 1: this is not a storage; write sled:DIR"),
        (
            "storage = \"redis+proxy://h\"",
            "line 1: this is not a storage; not the address of a Redis (after the + comes",
        ),
        (
            "default_scope = \"calendar.read\"\n[scopes.calendar]\ndescription = \"x\"",
            "line 1: default_scope must name scopes that exist; defined are calendar",
        ),
        (
            "default_scope = \"calendar.read\"",
            "line 1: default_scope must name scopes that exist; define some under [scopes]",
        ),
        ("client_cache = \"2h\"", "line 1: client_cache is at most one hour; write \"2s\""),
        (
            "[scopes.a]\nko = \"에이\"",
            "line 1: the scope has no description; write description = \"See your calendar\"",
        ),
        (
            "[scopes.a]\ndescripton = \"x\"\ndescription = \"x\"",
            "line 1: a scope has no setting `descripton`; write `description`, and translations",
        ),
        ("\n[scopes.\"a b\"]\ndescription = \"x\"", "line 2: `a b` cannot be a scope"),
        (
            "[policy]\nlisten = \"127.0.0.1:1\"",
            "line 2: `listen` is no setting of this section; write it above the first [section]",
        ),
        (
            "[scopes.a]\ndescription = \"x\"\ndefault_scope = \"a\"",
            "`default_scope` is no setting of this section; write it above the first [section]",
        ),
        ("issuer = ", "line 1: "),
        ("issuer = \"http://localhost\"\nissuer = \"http://localhost\"", "line 2: duplicate key"),
    ] {
        let failed = check(content, &[], &[("GRANTOR_ISSUER", "http://localhost")]).failed();
        assert!(
            failed.starts_with("grantor.toml, ") && failed.contains(said),
            "{content}\n{failed}"
        );
    }
}

#[test]
fn what_cannot_be_served_safely_is_not_served() {
    let exposed = ["--listen=0.0.0.0:8400", "--issuer=https://auth.example.com"];
    let failed = check("", &exposed, &[]).failed();
    assert!(failed.contains("--tls-terminated"), "{failed}");
    for way in ["--tls-terminated", "--tls-terminated=true"] {
        check("", &[&exposed[..], &[way]].concat(), &[]).ok();
    }
    for value in ["1", "true", "yes"] {
        check("", &exposed, &[("GRANTOR_TLS_TERMINATED", value)]).ok();
    }
    let undone = check("tls_terminated = true", &exposed, &[("GRANTOR_TLS_TERMINATED", "0")]);
    undone.failed();

    let failed = check("", &[], &[]).failed();
    assert!(failed.contains("the issuer is missing"), "{failed}");
    // What the command line itself says wrong is a matter of usage.
    for wrong in [
        "--issuer=http://auth.example.com",
        "--listen=8400",
        "--storage=redis:",
        "--log-format=xml",
    ] {
        assert_eq!(check("", &[wrong], &[]).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn the_example_shows_the_defaults() {
    let example = include_str!("../../grantor.toml");
    let bare = "issuer = \"http://127.0.0.1:8400\"";
    let [example, bare] = [example, bare].map(|content| check(content, &[], &[]).ok());
    let settings = |output: &str| -> Vec<String> {
        let lines = output.lines().filter(|line| !line.starts_with("scopes"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(settings(&example), settings(&bare));
    assert_eq!(shown(&example, "scopes"), "calendar.read calendar.write");
}

#[test]
fn serve_checks_what_check_checks() {
    let world = World::new();
    std::fs::write(world.config(), "isuer = 1").expect("written");
    let checked = world.run(&["check"]).failed();
    assert_eq!(world.run(&["serve"]).failed(), checked);
    assert_eq!(world.run(&["client", "list"]).failed(), checked);
    std::fs::remove_file(world.config()).expect("removed");
    let failed = world.run(&["serve"]).failed();
    assert!(failed.contains("cannot read the configuration file"), "{failed}");
    assert!(!world.data().exists());
}

#[test]
fn the_filter_of_the_log_is_explained_too() {
    let world = World::new();
    let mut command = world.command(&["serve"]);
    command.env("RUST_LOG", "info,=");
    let failed = Ran::of(command, "").failed();
    assert!(failed.contains("RUST_LOG=info,grantor::audit=off"), "{failed}");
}
