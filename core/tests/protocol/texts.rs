//! The model's values as text, at the edges of what they accept, and as they stand in a record.

use std::time::Duration;

use grantor::model::{
    ClientAuthMethod, ClientId, CodeChallenge, CodeVerifier, GrantState, GrantType, Handle,
    HandleKind, InvalidPolicy, InvalidRedirectUri, Issuer, Policy, RecordId, RedirectUri,
    RefreshPolicy, ScopeDefinition, ScopeSet, ScopeToken, Secret, SecretHash, SecretString,
    Subject, Timestamp,
};
use grantor::protocol::authorize::parse_interaction;
use grantor::protocol::{Refusal, bearer, code, refresh, revoke};
use grantor::storage::{Durability, Index, Key, Kind, Promises, Record};

use crate::world::{World, scope};

#[test]
fn a_value_is_its_text() {
    let id = RecordId::from_bytes([7; 12]);
    assert_eq!(RecordId::parse(&id.to_string()), Some(id));
    assert_eq!(format!("{id} {id:?}"), "BwcHBwcHBwcHBwcH BwcHBwcHBwcHBwcH");
    let client = ClientId::parse("calendar").expect("valid");
    assert_eq!(format!("{client} {client:?}"), "calendar \"calendar\"");
    assert_eq!("calendar".parse(), Ok(client));
    let subject = Subject::parse("user-1").expect("valid");
    assert_eq!(format!("{subject} {subject:?}"), "user-1 \"user-1\"");
    assert_eq!("user-1".parse(), Ok(subject));
    let token = ScopeToken::parse("read").expect("valid");
    assert_eq!(format!("{token} {token:?}"), "read \"read\"");
    assert_eq!("read".parse(), Ok(token));
    let set: ScopeSet = "write read".parse().expect("valid");
    assert_eq!(format!("{set} {set:?}"), "read write \"read write\"");
    assert_eq!("read write".parse(), Ok(set));
    let uri = RedirectUri::parse("https://a.test/cb").expect("valid");
    assert_eq!(format!("{uri} {uri:?}"), "https://a.test/cb \"https://a.test/cb\"");
    let issuer: Issuer = "https://h.example/t1/".parse().expect("valid");
    assert_eq!(issuer.to_string(), "https://h.example/t1/");
    assert_eq!((issuer.origin(), issuer.path()), ("https://h.example", "/t1"));
    assert_eq!(String::from(issuer), "https://h.example/t1/");
    for grant_type in GrantType::ALL {
        assert_eq!(GrantType::parse(grant_type.as_str()), Some(grant_type));
    }
    assert_eq!(GrantType::AuthorizationCode.as_str(), "authorization_code");
    assert_eq!(GrantType::parse("password"), None);
    let methods = [
        (ClientAuthMethod::ClientSecretBasic, "client_secret_basic"),
        (ClientAuthMethod::ClientSecretPost, "client_secret_post"),
        (ClientAuthMethod::None, "none"),
    ];
    for (method, text) in methods {
        assert_eq!(method.as_str(), text);
    }
    let instant = Timestamp::from_millis(1_800_000_000_999);
    assert_eq!((instant.as_millis(), instant.as_seconds()), (1_800_000_000_999, 1_800_000_000));
    assert_eq!(Timestamp::from_millis(-1).as_seconds(), -1);
    assert_eq!(format!("{instant} {instant:?}"), format!("{0} {0}", "2027-01-15T08:00:00.999Z"));
}

#[test]
fn a_handle_is_read_where_its_kind_belongs() {
    // ATTACKS D07, F06.
    let text = |kind| {
        let secret = Secret::from_bytes([9; 32]);
        let text = Handle::new(kind, RecordId::from_bytes([7; 12]), secret).encode();
        text.expose().to_owned()
    };
    use HandleKind as K;
    for kind in [K::Interaction, K::Code, K::AccessToken, K::RefreshToken, K::Session] {
        let text = text(kind);
        let readers: [(&str, bool, &[HandleKind]); 5] = [
            ("code", code::parse(&text).is_some(), &[K::Code]),
            ("refresh token", refresh::parse(&text).is_some(), &[K::RefreshToken]),
            ("bearer token", bearer::parse(&text).is_ok(), &[K::AccessToken]),
            ("token", revoke::parse(&text).is_some(), &[K::AccessToken, K::RefreshToken]),
            ("interaction", parse_interaction(&text).is_ok(), &[K::Interaction]),
        ];
        for (reader, read, kinds) in readers {
            assert_eq!(read, kinds.contains(&kind), "{kind:?} as {reader}");
        }
    }
}

#[test]
fn a_refusal_names_its_check_and_its_clause() {
    for (refusal, words, clause) in [
        (Refusal::CodeExpired, "the code has expired", "RFC 6749 section 4.1.2"),
        (Refusal::VerifierMissing, "the code_verifier is missing", "RFC 7636 section 4.6"),
        (
            Refusal::VerifierWrong { guesses_left: 3 },
            "the code_verifier is wrong, 3 attempts are left",
            "RFC 7636 section 4.6",
        ),
        (
            Refusal::RefreshTokenReused,
            "a retired refresh token was presented",
            "RFC 9700 section 4.14.2",
        ),
    ] {
        assert_eq!((refusal.to_string().as_str(), refusal.clause()), (words, clause));
    }
}

#[test]
fn a_secret_shows_that_it_is_one() {
    // ATTACKS K02.
    let secret = Secret::from_bytes([7; 32]);
    let verifier = "v".repeat(43);
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    assert_eq!(format!("{:?}", SecretString::of(&secret)), "SecretString(..)");
    assert_eq!(format!("{:?}", SecretHash::of(&secret)), "SecretHash(..)");
    assert_eq!(format!("{:?}", CodeVerifier::parse(&verifier)), "Some(CodeVerifier(..))");
}

#[test]
fn the_longest_is_accepted_and_one_more_is_not() {
    // ATTACKS J04, J06, J09.
    assert!(ClientId::parse("c".repeat(ClientId::MAX_LEN)).is_ok());
    assert!(ClientId::parse("c".repeat(ClientId::MAX_LEN + 1)).is_err());
    assert!(ClientId::parse("").is_err());
    assert!(Subject::parse("s".repeat(Subject::MAX_LEN)).is_ok());
    assert!(Subject::parse("s".repeat(Subject::MAX_LEN + 1)).is_err());
    assert!(Subject::parse("").is_err());
    assert!(ScopeToken::parse(&"s".repeat(ScopeToken::MAX_LEN)).is_ok());
    assert!(ScopeToken::parse(&"s".repeat(ScopeToken::MAX_LEN + 1)).is_err());
    for (length, fits) in [(43, true), (42, false), (128, true), (129, false)] {
        assert_eq!(CodeVerifier::parse(&"v".repeat(length)).is_some(), fits, "{length}");
    }
    let issuer = |length: usize| {
        let base = "https://h.example/";
        Issuer::parse(format!("{base}{}", "p".repeat(length - base.len())))
    };
    assert!(issuer(512).is_ok() && issuer(513).is_err());
    assert!(Issuer::parse("https://h.example/\u{e9}").is_err());
    let uri = |length: usize| {
        let base = "https://h.example/";
        RedirectUri::parse(format!("{base}{}", "p".repeat(length - base.len())))
    };
    assert!(uri(RedirectUri::MAX_LEN).is_ok());
    assert_eq!(uri(RedirectUri::MAX_LEN + 1), Err(InvalidRedirectUri::TooLong));
    for user in ["https://u@h.example/", "https://:p@h.example/", "https://u:p@h.example/"] {
        assert_eq!(RedirectUri::parse(user), Err(InvalidRedirectUri::UserInfo), "{user}");
    }
    // 63 scopes of 64 bytes and their spaces are 4095 bytes; the last one fills up what is left.
    let list = |last: usize| {
        let scopes = (0..62).map(|n| format!("{n:02}{}", "x".repeat(62)));
        scopes.chain(["y".repeat(64 + last)]).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(2).len(), ScopeSet::MAX_LEN);
    assert!(ScopeSet::parse(&list(2)).is_ok());
    assert!(ScopeSet::parse(&list(3)).is_err());
    let count = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    assert!(ScopeSet::parse(&count(ScopeSet::MAX_COUNT)).is_ok());
    assert!(ScopeSet::parse(&count(ScopeSet::MAX_COUNT + 1)).is_err());
}

#[test]
fn a_lifetime_is_a_second_at_least_and_ten_years_at_most() {
    // ATTACKS J09.
    const SECOND: Duration = Duration::from_secs(1);
    const MILLISECOND: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(86_400 * 3660);
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    let memory =
        Promises { durability: Durability::None, linearizable: true, evicts: false, shared: false };
    let check = |change: &dyn Fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.validate(&memory)
    };
    type Set = fn(&mut Policy, Duration);
    let lifetimes: [(&'static str, Set); 5] = [
        ("interaction_lifetime", |policy, lifetime| policy.interaction_lifetime = lifetime),
        ("access_token_lifetime", |policy, lifetime| policy.access_token_lifetime = lifetime),
        ("session_lifetime", |policy, lifetime| policy.session_lifetime = lifetime),
        ("refresh.idle_lifetime", |policy, idle_lifetime| {
            policy.refresh = Some(RefreshPolicy { idle_lifetime, ..RefreshPolicy::default() });
        }),
        ("refresh.absolute_lifetime", |policy, absolute_lifetime| {
            policy.refresh = Some(RefreshPolicy { absolute_lifetime, ..RefreshPolicy::default() });
        }),
    ];
    for (name, set) in lifetimes {
        for right in [SECOND, LONGEST] {
            assert_eq!(check(&|policy| set(policy, right)), Ok(()), "{name} {right:?}");
        }
        for wrong in [SECOND - MILLISECOND, LONGEST + MILLISECOND] {
            let refused = check(&|policy| set(policy, wrong));
            assert_eq!(refused, Err(InvalidPolicy::Lifetime(name)), "{wrong:?}");
        }
    }
    assert_eq!(check(&|policy| policy.code_lifetime = SECOND), Ok(()));
    assert_eq!(check(&|policy| policy.code_lifetime = TEN_MINUTES), Ok(()));
    let longer = TEN_MINUTES + MILLISECOND;
    assert_eq!(check(&|policy| policy.code_lifetime = longer), Err(InvalidPolicy::CodeLifetime));
    assert_eq!(check(&|policy| policy.secret_overlap = Duration::ZERO), Ok(()));
    assert_eq!(check(&|policy| policy.secret_overlap = LONGEST), Ok(()));
    assert_eq!(
        check(&|policy| policy.secret_overlap = LONGEST + MILLISECOND),
        Err(InvalidPolicy::Lifetime("secret_overlap"))
    );
    let window = |retry_window| {
        check(&move |policy| {
            policy.refresh = Some(RefreshPolicy { retry_window, ..RefreshPolicy::default() });
        })
    };
    assert_eq!(window(Duration::ZERO), Ok(()));
    assert_eq!(window(TEN_MINUTES), Ok(()));
    assert_eq!(window(longer), Err(InvalidPolicy::RetryWindow));

    let scopes = |count: usize, length: usize| {
        check(&move |policy| {
            for n in 0..count {
                let name = ScopeToken::parse(&format!("{n:02}{}", "x".repeat(length - 2)));
                policy.scopes.insert(name.expect("a scope"), ScopeDefinition::new("x"));
            }
        })
    };
    assert_eq!(scopes(ScopeSet::MAX_COUNT, 2), Ok(()));
    assert_eq!(scopes(ScopeSet::MAX_COUNT + 1, 2), Err(InvalidPolicy::TooManyScopes));
    // 64 names and 63 spaces: 4095 bytes.
    assert_eq!(scopes(ScopeSet::MAX_COUNT, 63), Ok(()));
    assert_eq!(scopes(ScopeSet::MAX_COUNT, 64), Err(InvalidPolicy::TooManyScopes));
    let exactly = |last: usize| {
        check(&move |policy| {
            for (n, length) in (0..63).map(|n| (n, 61)).chain([(63, last)]) {
                let name = ScopeToken::parse(&format!("{n:02}{}", "x".repeat(length)));
                policy.scopes.insert(name.expect("a scope"), ScopeDefinition::new("x"));
            }
        })
    };
    assert_eq!(exactly(62), Ok(()), "4096 bytes");
    assert_eq!(exactly(63), Err(InvalidPolicy::TooManyScopes));
    // 33 names of 124 bytes and 32 spaces: 4124 bytes, in fewer scopes.
    assert_eq!(scopes(33, 124), Err(InvalidPolicy::TooManyScopes));
    let default = |text: &str| check(&|policy| policy.default_scope = Some(scope(text)));
    assert_eq!(default(""), Err(InvalidPolicy::DefaultScope));
    assert_eq!(default("unknown"), Err(InvalidPolicy::DefaultScope));
}

#[test]
fn a_scope_is_described_in_the_language_that_is_asked_for() {
    let definition = ScopeDefinition::new("Read").translated("ko", "\u{c77d}\u{ae30}");
    assert_eq!(definition.describe("ko"), "\u{c77d}\u{ae30}");
    assert_eq!(definition.describe("fr"), "Read");
}

#[test]
fn a_record_is_where_it_was_and_reads_what_was_written() {
    // Whoever changes one of these names loses every record that is stored under it.
    let alice = Subject::parse("alice").expect("valid");
    let client = ClientId::parse("calendar").expect("valid");
    assert_eq!(Index::grants_of(&alice).as_str(), "grants:efaef65867919816567256a48f593a33");
    assert_eq!(Key::client(&client).to_bytes(), b"\x01calendar");
    assert_ne!(Key::consent(&alice, &client), Key::revoked_subject(&alice));

    let mut world = World::new();
    let registered = world.confidential();
    let (issued, _) = world.allowed(&registered.client);
    for record in [Record::Client(registered.client), Record::Grant(issued)] {
        let stored = record.to_new_record(None).expect("it fits");
        let key = record.key();
        assert_eq!(Record::decode(&key, &stored.value).expect("readable"), record);
        let elsewhere = Key::new(Kind::Session, key.id()).expect("short");
        assert!(Record::decode(&elsewhere, &stored.value).is_err());
        let nowhere = Key::new(Kind::Grant, "not an identifier").expect("short");
        assert!(key.kind() != Kind::Grant || Record::decode(&nowhere, &stored.value).is_err());
    }
}

#[test]
fn a_part_of_a_record_is_no_record_and_neither_is_more_than_one() {
    let mut world = World::new();
    let registered = world.confidential();
    let (issued, _) = world.allowed(&registered.client);
    let (key, grant) = (Key::grant(issued.id), Record::Grant(issued));
    let whole = grant.to_new_record(None).expect("it fits").value;
    for len in 0..whole.len() {
        assert!(Record::decode(&key, &whole[..len]).is_err(), "{len} bytes");
    }
    assert!(Record::decode(&key, &[&whole[..], &[0]].concat()).is_err());
    let older = [&[2], &whole[1..]].concat();
    let error = Record::decode(&key, &older).expect_err("another format").to_string();
    assert!(error.contains("format 2"), "{error}");
    // Whatever a damaged byte makes of it, it is an answer.
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let _ = Record::decode(&key, &damaged);
        }
    }
}

#[test]
fn bytes_of_another_length_are_no_hash() {
    let short = serde_json::from_str::<SecretHash>("[1,2,3]").expect_err("too short");
    assert!(short.to_string().contains("32 bytes"), "{short}");
    let whole = serde_json::to_string(&SecretHash::of(&Secret::from_bytes([1; 32])));
    let read: SecretHash = serde_json::from_str(&whole.expect("JSON")).expect("its own text");
    assert!(read.matches(&Secret::from_bytes([1; 32])));
    assert_ne!(read, SecretHash::of(&Secret::from_bytes([2; 32])));
    let challenge = CodeChallenge::parse_s256(&"A".repeat(43)).expect("a challenge");
    let text = serde_json::to_string(&challenge).expect("JSON");
    assert_eq!(serde_json::from_str::<CodeChallenge>(&text).expect("its own text"), challenge);
}

#[test]
fn what_is_allowed_is_known_while_it_is() {
    let mut world = World::new();
    let client = world.confidential();
    let (issued, _) = world.allowed(&client.client);
    assert_eq!(issued.scope(), Some(&scope("read write")));
    assert!(matches!(&issued.state, GrantState::CodeIssued(_)));
}
