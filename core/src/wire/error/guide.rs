//! The chapter on errors of the guide says what there is, all of it, and as it is said on the wire.

use super::on_the_wire;
use crate::engine::{BuildError, Unavailable};
use crate::model::{
    InvalidIssuer, InvalidPolicy, InvalidRedirectUri, InvalidScope, RevocationReason,
};
use crate::pages::{Body, DefaultPages, ErrorKind, ErrorPage, Frame, Page, Pages as _};
use crate::protocol::Refusal as R;
use crate::storage::{Durability, StorageError};

const CHAPTER: &str = include_str!("../../../docs/guide/errors.md");

/// One of each kind, in the order in which they are declared.
fn refusals() -> Vec<R> {
    vec![
        R::ParameterMissing("NAME"),
        R::ParameterRepeated("NAME"),
        R::ParameterTooLong("NAME"),
        R::ParameterMalformed("NAME"),
        R::FormExpected,
        R::FormMalformed,
        R::JsonMalformed,
        R::TooManyParameters,
        R::BodyTooLarge,
        R::UriTooLong,
        R::CredentialsInUri,
        R::ClientUnknown,
        R::ClientRemoved,
        R::ClientNotIdentified,
        R::ClientSecretMissing,
        R::ClientSecretWrong,
        R::ClientSecretExpired,
        R::ClientAuthMethodNotAllowed,
        R::ClientAuthMalformed,
        R::SeveralAuthMethods,
        R::PublicClientSentSecret,
        R::TooManyWrongSecrets { retry_after_seconds: 1 },
        R::GrantTypeUnsupported,
        R::GrantTypeNotAllowed,
        R::ExtensionGrantRefused("...".to_owned()),
        R::RedirectUriMissing,
        R::RedirectUriNotRegistered,
        R::ResponseTypeUnsupported,
        R::ResponseModeUnsupported,
        R::RequestObjectUnsupported,
        R::RequestUriUnsupported,
        R::PkceRequired,
        R::PkceMethodUnsupported,
        R::PkceChallengeMalformed,
        R::ScopeMissing,
        R::ScopeMalformed,
        R::ScopeUnknown,
        R::ScopeNotAllowed,
        R::PromptContradictory,
        R::LoginRequired,
        R::ConsentRequired,
        R::AccessDenied,
        R::TemporarilyUnavailable,
        R::InteractionUnknown,
        R::InteractionOfAnotherBrowser,
        R::InteractionExpired,
        R::InteractionFinished,
        R::ConsentOfAnotherUser,
        R::SignInRequired,
        R::WrongCredentials,
        R::TooManySignIns { retry_after_seconds: 1 },
        R::CrossSiteRequest,
        R::ConsentUnknown,
        R::CodeUnknown,
        R::CodeExpired,
        R::CodeOfAnotherClient,
        R::CodeUsed,
        R::CodeReplayed,
        R::RedirectUriMismatch,
        R::VerifierMissing,
        R::VerifierMalformed,
        R::VerifierWrong { guesses_left: 4 },
        R::VerifierWithoutChallenge,
        R::GrantRevoked(RevocationReason::Operator),
        R::ClientGrantsRevoked,
        R::ConsentWithdrawn,
        R::AccountGone,
        R::RefreshTokenUnknown,
        R::RefreshTokenExpired,
        R::RefreshTokenOfAnotherClient,
        R::RefreshTokenReused,
        R::RetryDiffers,
        R::ScopeWidened,
        R::TokenOfAnotherClient,
        R::IntrospectionNotAllowed,
        R::TokenMissing,
        R::SeveralTokens,
        R::TokenMalformed,
        R::TokenInactive,
        R::ScopeInsufficient,
        R::RegistrationRedirectUri(InvalidRedirectUri::Fragment),
        R::RegistrationInvalid("the name is empty"),
        R::ClientExists,
    ]
}

/// The names of the variants of an enum, out of its source.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).expect("the enum");
    let (body, _) = body.split_once("\n}\n").expect("its end");
    let line = |line: &'a str| {
        line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase))
    };
    let name = |line: &'a str| line.split(|c: char| !c.is_alphanumeric()).next();
    body.lines().filter_map(line).filter_map(name).collect()
}

/// The name of the variant of a value.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// That the values are one of each variant.
fn assert_all<T: std::fmt::Debug>(values: &[T], source: &str, name: &str) {
    let named: Vec<String> = values.iter().map(variant).collect();
    assert_eq!(named, variants(source, name), "left: the values of this test; right: {name}");
}

/// The rows of the table below a heading: the cells of each.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = CHAPTER.split_once(&format!("\n# {heading}\n")).expect("the heading");
    let section = section.split_once("\n# ").map_or(section, |(section, _)| section);
    let cells = |line: &'static str| -> Option<Vec<&'static str>> {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(line.split(" | ").map(str::trim).collect())
    };
    let below_its_head = section.lines().skip_while(|line| !line.starts_with("|---"));
    below_its_head.filter_map(cells).collect()
}

/// The rows below a heading begin with these cells, in any order, and each goes on to say something.
fn assert_rows(heading: &str, expected: impl IntoIterator<Item = Vec<String>>) {
    let mut missing: Vec<Vec<String>> = expected.into_iter().collect();
    for row in rows(heading) {
        let begins = |cells: &Vec<String>| {
            row.iter().zip(cells).filter(|(a, b)| a == b).count() == cells.len()
        };
        let Some(at) = missing.iter().position(begins) else {
            panic!("docs/guide/errors.md has, below {heading}, what is not: {row:?}");
        };
        let cells = missing.remove(at);
        let says = row.get(cells.len()..).unwrap_or_default();
        assert!(says.iter().any(|cell| !cell.is_empty()), "and what of it? {row:?}");
    }
    let missing: String =
        missing.iter().map(|row| format!("| {} | |\n", row.join(" | "))).collect();
    assert!(missing.is_empty(), "missing in docs/guide/errors.md below {heading}:\n{missing}");
}

/// A text in which what varies is left out.
fn text(of: &impl std::fmt::Display) -> String {
    let text = of.to_string();
    let text = text.replace(": Operator", ": ...").replace(": a fragment is not allowed", ": ...");
    let text = text.replace("4 attempts", "N attempts").replace("NAME", "*name*");
    let text = text.replace("[::1]", "\\[::1]");
    text.replace("the name is empty", "(what is wrong with it)")
}

const fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::BadRequest => "bad_request",
        ErrorKind::Expired => "expired",
        ErrorKind::AnotherBrowser => "another_browser",
        ErrorKind::AlreadyAnswered => "already_answered",
        ErrorKind::NotFound => "not_found",
        ErrorKind::NotFromHere => "not_from_here",
        ErrorKind::TooManyAttempts => "too_many_attempts",
        ErrorKind::Unavailable => "unavailable",
    }
}

#[test]
fn every_refusal_is_in_the_table_of_reasons() {
    let refusals = refusals();
    assert_all(&refusals, include_str!("../../protocol/refusal.rs"), "Refusal");
    let told = |refusal: &R| {
        let row = on_the_wire(refusal);
        let page = if row.kind == ErrorKind::BadRequest {
            String::new()
        } else {
            format!("; page `{}` {}", kind(row.kind), row.page_status())
        };
        vec![text(refusal), format!("`{}` {}{page}", row.code, row.status)]
    };
    assert_rows("What the log says", refusals.iter().map(told));
}

#[test]
fn every_error_code_is_in_the_table_of_codes() {
    let mut codes: Vec<&str> = refusals().iter().map(|refusal| on_the_wire(refusal).code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_rows("What a client is told", codes.iter().map(|code| vec![format!("`{code}`")]));
}

#[test]
fn every_page_is_in_the_table_of_pages() {
    assert_all(&ErrorKind::ALL, include_str!("../../pages/mod.rs"), "ErrorKind");
    let pages = DefaultPages::new();
    let row = |of: &ErrorKind| {
        let frame = Frame { stylesheet: "", host: "" };
        let page = Page { frame, body: Body::Error(ErrorPage { kind: *of, detail: "" }) };
        let html = pages.render(&page, "en");
        let title = html.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>"));
        vec![title.expect("a title").0.to_owned(), format!("`{}`", kind(*of))]
    };
    assert_rows("What a user sees", ErrorKind::ALL.iter().map(row));
}

#[test]
fn everything_that_stops_a_start_is_in_the_table() {
    let build = [
        BuildError::NoStorage,
        BuildError::NoAuthenticator,
        BuildError::NoClock,
        BuildError::NoEntropy,
        BuildError::LoginPage,
        BuildError::InteractionPage,
        BuildError::ExtensionGrant,
        BuildError::ClientCache,
        BuildError::Scope(InvalidScope),
        BuildError::Policy(InvalidPolicy::CodeLifetime),
    ];
    assert_all(&build, include_str!("../../engine/builder.rs"), "BuildError");
    let policy = [
        InvalidPolicy::Lifetime("*name*"),
        InvalidPolicy::CodeLifetime,
        InvalidPolicy::RetryWindow,
        InvalidPolicy::DefaultScope,
        InvalidPolicy::TooManyScopes,
        InvalidPolicy::ReservedClaim("*name*"),
        InvalidPolicy::Durability { wanted: Durability::Power, promised: Durability::Process },
        InvalidPolicy::UnsafeStorage,
    ];
    assert_all(&policy, include_str!("../../model/policy.rs"), "InvalidPolicy");
    let issuer = [
        InvalidIssuer::NotAUrl,
        InvalidIssuer::Decorated,
        InvalidIssuer::NotHttps,
        InvalidIssuer::NotCanonical,
    ];
    assert_all(&issuer, include_str!("../../model/issuer.rs"), "InvalidIssuer");
    let build = build.iter().filter(|error| !matches!(error, BuildError::Policy(_)));
    let texts = build.map(text).chain(policy.iter().map(text)).chain(issuer.iter().map(text));
    assert_rows("At start", texts.map(|text| vec![text]));
}

#[test]
fn every_reason_for_503_is_in_the_table() {
    let storage = [StorageError::unavailable("..."), StorageError::damaged("...")];
    assert_all(&storage, include_str!("../../storage/mod.rs"), "StorageError");
    let unavailable = [
        Unavailable::Storage(StorageError::unavailable("...")),
        Unavailable::Authenticator(crate::AuthenticatorError::unavailable("...")),
        Unavailable::Contention,
        Unavailable::ExtensionGrant("...".to_owned()),
        Unavailable::TokenFormat,
        Unavailable::Entropy,
    ];
    assert_all(&unavailable, include_str!("../../engine/step.rs"), "Unavailable");
    let texts = unavailable.iter().map(text).chain([text(&storage[1])]);
    assert_rows("What is answered with 503", texts.map(|text| vec![text]));
}

#[test]
fn every_end_of_an_authorization_is_in_the_table() {
    let reasons = [
        RevocationReason::Denied,
        RevocationReason::Client,
        RevocationReason::User,
        RevocationReason::Operator,
        RevocationReason::CodeReplayed,
        RevocationReason::RefreshTokenReused,
        RevocationReason::TooManyGuesses,
        RevocationReason::AccountChanged,
    ];
    assert_all(&reasons, include_str!("../../model/grant.rs"), "RevocationReason");
    assert_rows(
        "Why an authorization ended",
        reasons.iter().map(|reason| vec![format!("`{reason:?}`")]),
    );
}
