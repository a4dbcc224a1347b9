//! What a run leaves behind: table, JSON, JUnit, page, exit codes; and no secrets in any of it.

use grantor_conformance::runner::{Options, Report, Verdict, Waivers, report};

use crate::binary::{Served, conformance};
use crate::front::{Front, PASSWORD};
use crate::spoil::Spoil;

/// A run with a binding failure, a warning, a waived failure and everything else.
async fn mixed() -> (Front, Report) {
    let front = Front::start().await;
    front.spoil(Spoil::new(
        |_, _| None,
        |_, _, answered| {
            answered.headers.remove("cache-control");
            let day = serde_json::json!(86_400);
            if answered.member("access_token").is_some() {
                answered.edit(|members| drop(members.insert("expires_in".into(), day)));
            }
            answered.headers.remove("x-content-type-options");
        },
    ));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let waivers = "[[waiver]]\nid = \"HTTP-004\"\nreason = \"The proxy in front adds <nosniff>.\"\n\
        [[waiver]]\nid = \"6749-010\"\nreason = \"Not needed any more.\"\n";
    std::io::Write::write_all(&mut file, waivers.as_bytes()).expect("written");
    let waivers = Waivers::load(file.path(), |_| true).expect("waivers");
    let report = front.run(&Options { waivers, ..front.options() }).await.expect("a report");
    (front, report)
}

fn verdict(report: &Report, id: &str) -> Verdict {
    let found = report.results.iter().find(|result| result.requirement.id == id);
    found.expect("a result").verdict
}

#[tokio::test]
async fn a_mixed_run_in_every_form() {
    let (front, found) = mixed().await;
    assert!(found.has_failed());
    assert_eq!(verdict(&found, "6749-058"), Verdict::Fail);
    assert_eq!(verdict(&found, "6750-013"), Verdict::Fail);
    assert_eq!(verdict(&found, "HTTP-004"), Verdict::Waived);
    assert_eq!(verdict(&found, "8414-006"), Verdict::NotApplicable);
    assert_eq!(found.unused_waivers, ["6749-010"]);

    let table = report::table(&found, false);
    for text in
        ["FAIL", "6749-058", "warn", "6750-013", "waived", "The waiver of 6749-010", "--patience"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
    let json = report::json(&found).expect("JSON");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&value["failed"], &value["issuer"]),
        (&true.into(), &front.config.issuer.clone().into())
    );
    let total: u64 = value["counts"]
        .as_object()
        .expect("counts")
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    assert_eq!(total, u64::try_from(found.results.len()).expect("few"));
    let failed =
        value["results"].as_array().expect("results").iter().find(|r| r["id"] == "6749-058");
    let failed = failed.expect("the failure");
    let evidence = failed["evidence"].to_string();
    assert!(evidence.contains("/token") && evidence.contains("200 OK"), "{evidence}");

    let junit = report::junit(&found).expect("JUnit");
    assert!(junit.contains("<failure message=\"fail: ") && junit.contains("<skipped"), "{junit}");

    let page = report::html(&found).expect("a page");
    for text in
        ["id=\"6749-058\"", "warning", "The proxy in front adds &lt;nosniff&gt;.", "show-waived"]
    {
        assert!(page.contains(text), "{text}");
    }
    for forbidden in ["<script", "src=", "@import", "url(", "undefined"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }

    let table = report::table(&found, true);
    for text in [&table, &json, &junit, &page] {
        assert!(!text.contains(PASSWORD) && !text.contains("correct+horse"), "the password");
        for client in front.config.clients.values() {
            let secret = client.secret.as_ref().map(|secret| secret.expose());
            assert!(secret.is_none_or(|secret| !text.contains(secret)), "a client secret");
        }
        // The prefixes of our codes, access and refresh tokens, with what follows them.
        for prefix in ["grc_", "gra_", "grr_"] {
            let shown = text.match_indices(prefix).any(|(at, _)| {
                let rest = text.get(at + 4..).unwrap_or_default();
                rest.chars().take_while(char::is_ascii_alphanumeric).count() > 12
            });
            assert!(!shown, "{prefix} in {}", text.get(..80).unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_tested_is_said_to_be_so() {
    let front = Front::start().await;
    let mut options = front.options();
    options.config.user.password = Some(grantor_conformance::runner::Secret::new("wrong password"));
    let error = front.run(&options).await.expect_err("nobody signs in").to_string();
    assert!(error.contains("no code") || error.contains("sign-in"), "{error}");
    assert!(!error.contains("wrong password"), "{error}");
    let mut options = front.options();
    options.config.clients.clear();
    let error = front.run(&options).await.expect_err("no client").to_string();
    assert!(error.contains("[clients.confidential]"), "{error}");
    let mut options = front.options();
    options.config.issuer = Some("http://127.0.0.1:1".to_owned());
    let error = front.run(&options).await.expect_err("nobody listens").to_string();
    assert!(error.contains("/.well-known/oauth-authorization-server"), "{error}");
}

#[tokio::test]
async fn a_hook_signs_in_in_place_of_the_filler() {
    let front = Front::start().await;
    // What a real hook does with a browser, this one does by asking for what needs no user: it shows that the
    // address and the decision arrive, and that what it prints is taken.
    let hook = "read url; test \"$url\" = \"$GRANTOR_AUTHORIZATION_URL\" || exit 1; \
        echo progress; echo \"$GRANTOR_REDIRECT_URI?code=made-up&decision=$GRANTOR_DECISION\"";
    let options = Options {
        login_hook: Some(hook.to_owned()),
        only: vec!["6749-014".to_owned()],
        ..front.options()
    };
    let error = front.run(&options).await.expect_err("the code is made up").to_string();
    assert!(error.contains("a good code got 400"), "{error}");
    let options = Options { login_hook: Some("exit 3".to_owned()), ..options };
    let error = front.run(&options).await.expect_err("the hook fails").to_string();
    assert!(error.contains("the login hook failed: exit status: 3"), "{error}");
}

#[test]
fn the_command_says_by_its_exit_code_what_it_found() {
    let served = Served::start();
    let (json, html) = (served.path("out.json"), served.path("out.html"));
    let arguments = [
        "--only",
        "6749,9207",
        "--json",
        json.to_str().expect("UTF-8"),
        "--html",
        html.to_str().expect("UTF-8"),
    ];
    let good = served.conformance(&arguments);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).contains("hold."), "{good:?}");
    assert!(std::fs::read_to_string(html).expect("the page").starts_with("<!doctype html>"));
    serde_json::from_slice::<serde_json::Value>(&std::fs::read(json).expect("the file"))
        .expect("JSON");

    let waivers = served.path("waivers.toml");
    std::fs::write(&waivers, "[[waiver]]\nid = \"6749-010\"\n").expect("written");
    let bad = served.conformance(&["--waivers", waivers.to_str().expect("UTF-8")]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    assert!(String::from_utf8_lossy(&bad.stderr).contains("has no reason"), "{bad:?}");
    let nothing = served.conformance(&["--only", "1234"]);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    assert_eq!(conformance(&["run"]).status.code(), Some(2));

    let list = conformance(&["list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert!(
        list.as_array().expect("a list").len() >= 200,
        "{}",
        list.as_array().map_or(0, Vec::len)
    );
    let text = conformance(&["list"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("6749-042"));
}
