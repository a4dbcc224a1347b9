//! `application/x-www-form-urlencoded`, read strictly (RFC 6749 appendix B), and the same in JSON.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};
use percent_encoding::percent_decode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::protocol::Refusal;

/// The most parameters that one request may have. Extensions are ignored, not counted out; beyond
/// this nobody is asking for a token.
const MAX_PARAMETERS: usize = 128;
/// As many as most requests have.
const USUAL_PARAMETERS: usize = 8;
/// The longest value that a parameter may have, in bytes.
const MAX_VALUE_LEN: usize = 8 * 1024;

/// The parameters of a query or of a form, in their order.
#[derive(Default)]
pub(super) struct Form<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Form<'a> {
    /// Reads a query or a form.
    ///
    /// The usual readers repair what they do not understand: a bad escape stays as it is, bad UTF-8
    /// becomes a replacement character. Here two readers of one request must never see two
    /// different requests, so both are errors.
    pub(super) fn parse(input: &'a [u8]) -> Result<Self, Refusal> {
        let mut pairs = Vec::with_capacity(if input.is_empty() { 0 } else { USUAL_PARAMETERS });
        let mut rest = input;
        while !rest.is_empty() {
            let (pair, next) = rest.split_at(memchr(b'&', rest).unwrap_or(rest.len()));
            rest = next.get(1..).unwrap_or_default();
            if pair.is_empty() {
                continue;
            }
            if pairs.len() == MAX_PARAMETERS {
                return Err(Refusal::TooManyParameters);
            }
            let at = memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            let value = value.strip_prefix(b"=").unwrap_or(value);
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self { pairs })
    }

    /// Reads the same out of a JSON object: a text is a value, a list of texts is a parameter that is
    /// repeated, and `null` is absent.
    pub(super) fn from_json(input: &[u8]) -> Result<Self, Refusal> {
        let members: Members = serde_json::from_slice(input).map_err(|_| Refusal::JsonMalformed)?;
        if members.0.len() > MAX_PARAMETERS {
            return Err(Refusal::TooManyParameters);
        }
        let pairs = members.0.into_iter().map(|(name, value)| (name.into(), value.into()));
        Ok(Self { pairs: pairs.collect() })
    }

    /// The one value of a parameter. Sent empty it counts as absent, sent twice it is refused
    /// (RFC 6749 section 3.1 and 3.2).
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut values = self.values(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(Refusal::ParameterRepeated(name));
        }
        let value = value.filter(|value| !value.is_empty());
        if value.is_some_and(|value| value.len() > MAX_VALUE_LEN) {
            return Err(Refusal::ParameterTooLong(name));
        }
        Ok(value)
    }

    /// The one value of a parameter that has to be there.
    pub(super) fn require(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name)?.ok_or(Refusal::ParameterMissing(name))
    }

    /// All parameters, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_ref())
    }
}

/// The members of a JSON object as pairs. A map would hide that one is there twice, and two readers of
/// one request must never see two different requests.
struct Members(Vec<(String, String)>);

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Member {
    Absent(()),
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and lists of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, member)) = map.next_entry::<String, Member>()? {
                    match member {
                        Member::Absent(()) => {}
                        Member::Text(value) => pairs.push((name, value)),
                        Member::List(values) => {
                            pairs.extend(values.into_iter().map(|value| (name.clone(), value)));
                        }
                    }
                }
                Ok(Members(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Undoes the encoding of one name or value: `+` is a space, an escape has two digits, and the
/// result is UTF-8.
pub(super) fn decode(input: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    if memchr2(b'%', b'+', input).is_none() {
        return str::from_utf8(input).map(Cow::Borrowed).map_err(|_| Refusal::FormMalformed);
    }
    let mut rest = input;
    while let Some(at) = memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                rest = rest.get(at + 3..).unwrap_or_default();
            }
            _ => return Err(Refusal::FormMalformed),
        }
    }
    let plain: Cow<'_, [u8]> = if input.contains(&b'+') {
        Cow::Owned(input.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect())
    } else {
        Cow::Borrowed(input)
    };
    let text = match plain {
        Cow::Borrowed(bytes) => percent_decode(bytes).decode_utf8(),
        Cow::Owned(bytes) => {
            percent_decode(&bytes).decode_utf8().map(|t| Cow::Owned(t.into_owned()))
        }
    };
    text.map_err(|_| Refusal::FormMalformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_is_absent_and_twice_is_refused() {
        // Requirements 6749-015, 6749-017, 6749-033, 6749-034; ATTACKS J01.
        let form = Form::parse(b"scope=&state=1&state=1&x&%63ode=7&a[]=1").expect("well-formed");
        assert_eq!(form.get("scope"), Ok(None));
        assert_eq!(form.get("missing"), Ok(None));
        assert_eq!(form.get("state"), Err(Refusal::ParameterRepeated("state")));
        assert_eq!(
            form.get("code"),
            Ok(Some("7")),
            "a name may be escaped, and is still that name"
        );
        assert_eq!(form.get("a"), Ok(None));
        assert_eq!(Form::parse(b"a=1;b=2").expect("form").get("a"), Ok(Some("1;b=2")));
    }

    #[test]
    fn what_is_not_percent_encoded_utf8_is_refused() {
        // Requirement 6749-084.
        for bad in [&b"a=%ff"[..], b"a=%c0%af", b"a=%", b"a=%4", b"a=%zz", b"%ff=1", b"a=\xff"] {
            assert!(Form::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_flood_is_refused() {
        // ATTACKS J04, requirement HTTP-005.
        let flood = "a=1&".repeat(MAX_PARAMETERS + 1);
        assert!(matches!(Form::parse(flood.as_bytes()), Err(Refusal::TooManyParameters)));
        let long = format!("code={}", "x".repeat(MAX_VALUE_LEN + 1));
        let form = Form::parse(long.as_bytes()).expect("form");
        assert_eq!(form.get("code"), Err(Refusal::ParameterTooLong("code")));
    }

    proptest! {
        #[test]
        fn what_a_form_writer_wrote_is_read_back(name in "[a-z]{1,8}", value in "\\PC{1,40}") {
            let written = form_urlencoded::Serializer::new(String::new())
                .append_pair(&name, &value).finish();
            let form = Form::parse(written.as_bytes()).expect("written by a form writer");
            prop_assert_eq!(form.values(&name).collect::<Vec<_>>(), vec![value.as_str()]);
        }

        #[test]
        fn no_input_breaks_the_reader(bytes: Vec<u8>) {
            let _ = Form::parse(&bytes);
        }
    }

    #[test]
    fn a_json_object_is_read_as_the_same_form() {
        let form = Form::from_json(
            br#"{"a":"1","scope":["x","y"],"none":null,"empty":"","two":"1","two":"2"}"#,
        )
        .expect("an object");
        assert_eq!(form.get("a"), Ok(Some("1")));
        assert_eq!(form.values("scope").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(form.get("scope"), Err(Refusal::ParameterRepeated("scope")));
        assert_eq!(form.get("none"), Ok(None));
        assert_eq!(form.get("empty"), Ok(None));
        assert_eq!(form.get("two"), Err(Refusal::ParameterRepeated("two")));
        for bad in ["", "[]", "1", "{\"a\":1}", "{\"a\":{}}", "{\"a\":[1]}", "{\"a\":true}", "{} x"]
        {
            assert_eq!(
                Form::from_json(bad.as_bytes()).err(),
                Some(Refusal::JsonMalformed),
                "{bad}"
            );
        }
        let many = format!("{{\"a\":{:?}}}", vec!["x"; MAX_PARAMETERS + 1]);
        let many = Form::from_json(many.as_bytes()).err();
        assert_eq!(many, Some(Refusal::TooManyParameters));
    }
}
