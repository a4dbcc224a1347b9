//! How a client says who it is (RFC 6749 section 2.3.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

use super::form::{Form, decode};
use crate::model::{ClientAuthMethod, SecretString};
use crate::protocol::Refusal;
use crate::protocol::client_auth::PresentedClient;

/// The longest secret that is hashed, in bytes: a longer one cannot be right (ATTACKS E15).
const MAX_SECRET_LEN: usize = 512;

/// Reads the client from the header or from the form. More than one way at once is refused.
pub(super) fn presented(
    headers: &HeaderMap,
    query: &Form<'_>,
    form: &Form<'_>,
) -> Result<PresentedClient, Refusal> {
    for name in ["client_id", "client_secret", "client_assertion"] {
        if query.values(name).next().is_some() {
            return Err(Refusal::CredentialsInUri);
        }
    }
    let posted_id = form.get("client_id")?;
    let posted_secret = form.get("client_secret")?;
    if form.get("client_assertion")?.is_some() || form.get("client_assertion_type")?.is_some() {
        let other = posted_secret.is_some() || headers.contains_key(header::AUTHORIZATION);
        return Err(if other {
            Refusal::SeveralAuthMethods
        } else {
            Refusal::ClientAuthMethodNotAllowed
        });
    }
    let basic = basic(headers)?;
    match (basic, posted_id, posted_secret) {
        (Some(_), _, Some(_)) => Err(Refusal::SeveralAuthMethods),
        (Some((id, _)), Some(posted), None) if posted != id => Err(Refusal::SeveralAuthMethods),
        (Some((client_id, secret)), _, None) => Ok(PresentedClient {
            client_id,
            secret: Some((ClientAuthMethod::ClientSecretBasic, secret)),
        }),
        (None, Some(id), Some(secret)) if secret.len() <= MAX_SECRET_LEN => Ok(PresentedClient {
            client_id: id.to_owned(),
            secret: Some((ClientAuthMethod::ClientSecretPost, SecretString::new(secret))),
        }),
        (None, _, Some(_)) => Err(Refusal::ClientNotIdentified),
        (None, Some(id), None) => Ok(PresentedClient { client_id: id.to_owned(), secret: None }),
        (None, None, None) => Err(Refusal::ClientNotIdentified),
    }
}

/// Reads `Authorization: Basic` (RFC 7617), whose two halves are form-encoded
/// (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, SecretString)>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::SeveralAuthMethods);
    }
    let malformed = || Refusal::ClientAuthMalformed;
    let (scheme, credentials) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::ClientAuthMethodNotAllowed);
    }
    let bytes = STANDARD.decode(credentials.trim_matches(' ')).map_err(|_| malformed())?;
    let at = bytes.iter().position(|b| *b == b':').ok_or_else(malformed)?;
    let (id, secret) = bytes.split_at(at);
    let secret = secret.strip_prefix(b":").unwrap_or(secret);
    if secret.len() > MAX_SECRET_LEN * 3 {
        return Err(malformed());
    }
    let id = decode(id).map_err(|_| malformed())?;
    let secret = decode(secret).map_err(|_| malformed())?;
    if id.is_empty() || secret.is_empty() || secret.len() > MAX_SECRET_LEN {
        return Err(malformed());
    }
    Ok(Some((id.into_owned(), SecretString::new(secret))))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn with_header(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("header");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn basic_of(id: &str, secret: &str) -> HeaderMap {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(id), encode(secret));
        with_header(&format!("Basic {}", STANDARD.encode(pair)))
    }

    fn read(headers: &HeaderMap, form: &str) -> Result<PresentedClient, Refusal> {
        presented(headers, &Form::default(), &Form::parse(form.as_bytes()).expect("form"))
    }

    #[test]
    fn each_method_alone() {
        // Requirements 6749-005, OA21-006.
        let client = read(&basic_of("a", "s"), "").expect("basic");
        assert_eq!(client.client_id, "a");
        assert_eq!(client.secret.map(|(m, _)| m), Some(ClientAuthMethod::ClientSecretBasic));
        let client = read(&HeaderMap::new(), "client_id=a&client_secret=s").expect("form");
        assert_eq!(client.secret.map(|(m, _)| m), Some(ClientAuthMethod::ClientSecretPost));
        let client = read(&HeaderMap::new(), "client_id=a").expect("public");
        assert!(client.secret.is_none());
        // The same client_id in the form is no second method.
        read(&basic_of("a", "s"), "client_id=a").expect("named twice, the same");
    }

    #[test]
    fn two_methods_at_once_are_refused() {
        // Requirement 6749-004, ATTACKS E01.
        let basic = basic_of("a", "s");
        for form in [
            "client_secret=s",
            "client_id=a&client_secret=s",
            "client_id=b&client_secret=s",
            "client_id=b",
            "client_assertion=x",
            "client_assertion_type=x&client_assertion=y",
        ] {
            assert_eq!(read(&basic, form).expect_err(form), Refusal::SeveralAuthMethods);
        }
        let none = HeaderMap::new();
        let both = "client_id=a&client_secret=s&client_assertion=x";
        assert_eq!(read(&none, both).expect_err("both"), Refusal::SeveralAuthMethods);
        let mut twice = basic.clone();
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Basic YTpz"));
        assert_eq!(read(&twice, "").expect_err("two headers"), Refusal::SeveralAuthMethods);
    }

    #[test]
    fn a_header_that_cannot_be_read_is_refused_and_never_repaired() {
        // Requirement 6749-006, ATTACKS E13.
        let of = |pair: &[u8]| with_header(&format!("Basic {}", STANDARD.encode(pair)));
        for bad in [
            with_header("Basic"),
            with_header("Basic !!!"),
            with_header("Basic YTpz=="),
            of(b"no-colon"),
            of(b"a:%zz"),
            of(b"%ff:s"),
            of(b":s"),
            of(b"a:"),
            of(b"\xff:s"),
            of(format!("a:{}", "x".repeat(513)).as_bytes()),
        ] {
            assert_eq!(read(&bad, "").expect_err("malformed"), Refusal::ClientAuthMalformed);
        }
        assert!(read(&with_header("basic YTpz"), "").is_ok(), "the scheme has no case");
        assert_eq!(
            read(&with_header("Bearer x"), "").expect_err("bearer"),
            Refusal::ClientAuthMethodNotAllowed
        );
    }

    #[test]
    fn credentials_in_the_uri_are_refused() {
        // Requirement 6749-007.
        let query = Form::parse(b"client_id=a&client_secret=s").expect("query");
        let form = Form::parse(b"client_id=a&client_secret=s").expect("form");
        let refusal = presented(&HeaderMap::new(), &query, &form).expect_err("in the URI");
        assert_eq!(refusal, Refusal::CredentialsInUri);
    }

    proptest! {
        /// Requirement 6749-006: whatever is in id and secret arrives as it was.
        #[test]
        fn basic_carries_any_text(id in "[^\\x00]{1,30}", secret in "[^\\x00]{1,30}") {
            let client = read(&basic_of(&id, &secret), "").expect("encoded");
            prop_assert_eq!(client.client_id, id);
            let shown = client.secret.expect("secret").1;
            prop_assert_eq!(shown.expose(), secret.as_str());
        }
    }
}
