//! The types that text becomes.

use grantor::model::{
    CodeChallenge, CodeVerifier, Handle, HandleKind, Issuer, RedirectUri, RedirectUriKind, ScopeSet,
};

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Two redirect URIs, a line each: what is registered, and what a request names.
///
/// Requirements 6749-020, 6749-022, 6749-028, 8252-003, 8252-004, 8252-005, 9700-001, 9700-016, 9700-019;
/// ATTACKS A01 to A13.
pub(crate) fn redirect_uri(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let (registered, requested) = text.split_once('\n').unwrap_or((text, text));
    let Ok(uri) = RedirectUri::parse(registered) else {
        return;
    };
    assert_eq!(uri.as_str(), registered, "kept as it was written");
    assert_eq!(RedirectUri::parse(uri.to_string()).as_ref(), Ok(&uri));
    assert!(uri.matches(registered, false));
    let forbidden = |c: char| !c.is_ascii_graphic() || "#*\\\"<>`{}|^'".contains(c);
    assert!(!registered.contains(forbidden), "{registered}");
    let (scheme, rest) = registered.split_once(':').expect("a scheme");
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let (authority, path) =
        authority.split_at(authority.find(['/', '?']).unwrap_or(authority.len()));
    assert!(!authority.contains('@'), "{registered}");
    match uri.kind() {
        RedirectUriKind::Https => assert!(scheme == "https" && path.starts_with('/')),
        RedirectUriKind::Loopback => {
            let host = authority.trim_end_matches(|c: char| c.is_ascii_digit());
            let host = host.strip_suffix(':').unwrap_or(authority);
            assert!(
                scheme == "http" && ["127.0.0.1", "[::1]", "localhost"].contains(&host),
                "{registered}"
            );
        }
        RedirectUriKind::PrivateUse => assert!(scheme.contains('.'), "{registered}"),
    }
    for localhost in [false, true] {
        if uri.matches(requested, localhost) && requested != registered {
            assert_eq!(uri.kind(), RedirectUriKind::Loopback, "{registered} is not {requested}");
            let any = localhost || !authority.starts_with("localhost");
            assert!(any, "{registered} is not {requested}");
            assert_eq!(portless(registered), portless(requested));
        }
    }
}

/// A loopback URI without its port.
fn portless(uri: &str) -> Option<(String, String)> {
    let rest = uri.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
            assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{uri}");
            assert!(port.bytes().all(|digit| digit.is_ascii_digit()), "{uri}");
            host
        }
        _ => authority,
    };
    Some((host.to_owned(), path.to_owned()))
}

/// A scope list.
///
/// Requirements 6749-039, 6749-065.
pub(crate) fn scope(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(set) = ScopeSet::parse(one) else {
        return;
    };
    assert_eq!(ScopeSet::parse(&set.to_string()).as_ref(), Ok(&set));
    let token = |token: &str| token.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    let mut names: Vec<&str> = one.split(' ').filter(|name| !name.is_empty()).collect();
    assert!(names.iter().all(|name| token(name)), "{one:?}");
    names.reverse();
    assert_eq!(ScopeSet::parse(&names.join(" ")).as_ref(), Ok(&set), "order does not matter");
    assert!(names.iter().all(|name| set.contains(name)));
    assert_eq!(set.iter().count(), set.len());
    if let Ok(other) = ScopeSet::parse(other) {
        let both = set.intersection(&other);
        assert!(both.is_subset(&set) && both.is_subset(&other));
        let all = set.union(&other);
        assert!(set.is_subset(&all) && other.is_subset(&all));
        assert_eq!(set.is_subset(&other), both == set);
        assert_eq!(all.len() + both.len(), set.len() + other.len());
    }
}

/// A handle: what leaves the server and opens something.
///
/// Requirements 6749-073, 9700-037; ATTACKS B10, D07, F06.
pub(crate) fn handle(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let kinds = [
        HandleKind::Interaction,
        HandleKind::Code,
        HandleKind::AccessToken,
        HandleKind::RefreshToken,
        HandleKind::Session,
    ];
    let read: Vec<Handle> =
        kinds.into_iter().filter_map(|kind| Handle::parse(kind, text)).collect();
    assert!(read.len() <= 1, "{text} is of two kinds");
    if let [handle] = read.as_slice() {
        assert_eq!(handle.encode().expose(), text, "one text for one handle");
        let shown = format!("{handle:?}");
        assert!(!shown.contains(&text[20..]), "its secret is not printed: {shown}");
    }
    // Whatever the bytes are, the handle made of them is read back, and with any one character changed it is not.
    let mut bytes = [0; 44];
    for (to, from) in bytes.iter_mut().zip(data) {
        *to = *from;
    }
    let (id, secret) = bytes.split_first_chunk::<12>().expect("long enough");
    let secret: [u8; 32] = secret.try_into().expect("the rest");
    let kind = kinds[usize::from(data.first().copied().unwrap_or_default()) % kinds.len()];
    let handle = Handle::new(
        kind,
        grantor::model::RecordId::from_bytes(*id),
        grantor::model::Secret::from_bytes(secret),
    );
    let written = handle.encode();
    let again = Handle::parse(kind, written.expose()).expect("its own text");
    assert_eq!((again.id, again.encode().expose()), (handle.id, written.expose()));
    let at = usize::from(data.last().copied().unwrap_or_default()) % Handle::TEXT_LEN;
    let mut changed = written.expose().as_bytes().to_vec();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    assert!(kinds.into_iter().all(|kind| Handle::parse(kind, &changed).is_none()), "{changed}");
}

/// An issuer identifier.
///
/// Requirements 8414-001, 8414-008, 8414-009, 9207-002; ATTACKS K14.
pub(crate) fn issuer(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let Ok(issuer) = Issuer::parse(text) else {
        return;
    };
    assert_eq!(issuer.as_str(), text);
    assert_eq!(Issuer::parse(issuer.to_string()).as_ref(), Ok(&issuer));
    assert!(!text.contains(['?', '#', ' ', '\\']) && !issuer.origin().contains('@'), "{text}");
    assert_eq!(issuer.is_secure(), text.starts_with("https://"));
    assert!(text.starts_with(issuer.origin()), "{text}");
    assert!(!issuer.path().ends_with('/') && !issuer.metadata_path().ends_with('/'), "{text}");
    let path = issuer.metadata_path();
    let path =
        path.strip_prefix("/.well-known/oauth-authorization-server").expect("RFC 8414 section 3");
    assert_eq!(path, issuer.path());
    let endpoint = issuer.endpoint("/token");
    assert_eq!(endpoint, format!("{}{}/token", issuer.origin(), issuer.path()));
}

/// A verifier and a challenge, a line each.
///
/// Requirements 7636-001, 7636-002, 7636-009; ATTACKS C05.
pub(crate) fn pkce(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let (verifier, challenge) = text.split_once('\n').unwrap_or((text, text));
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    let verifier = CodeVerifier::parse(verifier);
    assert_eq!(verifier.is_some(), well_formed, "{text}");
    let parsed = CodeChallenge::parse_s256(challenge);
    assert!(parsed.is_none() || challenge.len() == 43, "{challenge}");
    if let Some(verifier) = verifier {
        let own = CodeChallenge::of(&verifier);
        assert!(own.verify(&verifier));
        if let Some(other) = parsed {
            assert_eq!(other.verify(&verifier), other == own);
        }
    }
}
