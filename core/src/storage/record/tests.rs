//! What stands in a store is what this version reads.

use super::*;
use crate::model::{
    AccessToken, Active, CodeChallenge, CodeIssued, CodeProof, ConsentState, HashPrefix,
    PendingAuthorization, PreviousRefreshToken, Prompt, RefreshToken, Revocation, RevocationReason,
    Secret, SecretHash, SpentProof, digest, hex,
};

fn hash(of: u8) -> SecretHash {
    SecretHash::of(&Secret::from_bytes([of; 32]))
}

fn prefix(of: u8) -> HashPrefix {
    hash(of).prefix()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + second * 1_000)
}

fn subject() -> Subject {
    Subject::parse("alice").expect("a subject")
}

fn client_id() -> ClientId {
    ClientId::parse("calendar").expect("an id")
}

fn challenge() -> CodeChallenge {
    CodeChallenge::parse_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").expect("a challenge")
}

fn grant(state: GrantState) -> Record {
    let id = RecordId::from_bytes([1; RecordId::LEN]);
    let client_id = client_id();
    Record::Grant(Grant { id, client_id, client_epoch: 2, created_at: at(1), state })
}

fn records() -> Vec<(&'static str, Record)> {
    let scope = "read write".parse::<crate::model::ScopeSet>().expect("scopes");
    let pending = PendingAuthorization {
        interaction: hash(1),
        browser: hash(2),
        redirect_uri: "https://client.example/cb".to_owned(),
        redirect_uri_sent: true,
        state: Some("xyz".to_owned()),
        scope: scope.clone(),
        challenge: Some(challenge()),
        prompt: Prompt { none: false, login: true, consent: false, select_account: true },
        max_age: Some(60),
        login_hint: Some("alice".to_owned()),
        ui_locales: None,
        requested_at: at(2),
        expires_at: at(3),
    };
    let code = CodeIssued {
        subject: subject(),
        auth_time: at(2),
        scope: scope.clone(),
        consent_epoch: 3,
        subject_epoch: 4,
        proof: CodeProof {
            code: hash(3),
            challenge: Some(challenge()),
            redirect_uri: hash(4),
            redirect_uri_sent: true,
        },
        redirect_uri: "https://client.example/cb".to_owned(),
        state: None,
        interaction: Some(hash(5)),
        browser: None,
        expires_at: at(3),
        wrong_guesses: 5,
    };
    let active = Active {
        subject: Some(subject()),
        auth_time: Some(at(2)),
        scope: scope.clone(),
        consent_epoch: 3,
        proof: Some(SpentProof {
            code: prefix(3),
            challenge: None,
            redirect_uri: prefix(4),
            redirect_uri_sent: false,
        }),
        refresh: Some(RefreshToken {
            hash: hash(6),
            family: [7; 16],
            idle_expires_at: at(4),
            expires_at: at(5),
            previous: Some(PreviousRefreshToken {
                hash: hash(8),
                nonce: [9; 16],
                rotated_at: at(3),
            }),
        }),
        access_tokens: vec![AccessToken {
            hash: hash(10),
            narrowed: Some(2),
            issued_at: at(3),
            expires_at: at(6),
        }],
    };
    let revoked = |reason| {
        grant(GrantState::Revoked(Revocation { reason, at: at(7), subject: Some(subject()) }))
    };
    let consent = |state| {
        Record::Consent(Consent {
            subject: subject(),
            client_id: client_id(),
            scope: scope.clone(),
            state,
            epoch: 3,
            granted_at: at(1),
            updated_at: at(2),
            client_name: "Calendar".to_owned(),
        })
    };
    let session = Session {
        id: RecordId::from_bytes([1; RecordId::LEN]),
        secret: hash(11),
        subject: subject(),
        auth_time: at(1),
        expires_at: at(2),
        ended: true,
    };
    vec![
        ("pending", grant(GrantState::Pending(pending))),
        ("code", grant(GrantState::CodeIssued(code))),
        ("active", grant(GrantState::Active(active))),
        ("denied", revoked(RevocationReason::Denied)),
        ("by the client", revoked(RevocationReason::Client)),
        ("by the user", revoked(RevocationReason::User)),
        ("by the operator", revoked(RevocationReason::Operator)),
        ("code replayed", revoked(RevocationReason::CodeReplayed)),
        ("token reused", revoked(RevocationReason::RefreshTokenReused)),
        ("guesses", revoked(RevocationReason::TooManyGuesses)),
        ("account", revoked(RevocationReason::AccountChanged)),
        ("allowed", consent(ConsentState::Allowed)),
        ("withdrawing", consent(ConsentState::Withdrawing)),
        ("withdrawn", consent(ConsentState::Withdrawn)),
        ("session", Record::Session(session)),
        (
            "revoked subject",
            Record::RevokedSubject(RevokedSubject { subject: subject(), epoch: 2, at: at(1) }),
        ),
    ]
}

/// Where one of these changes, so does what is read out of every store: [`FORMAT`] has to be another, and
/// what has this one has to be read as before.
#[test]
fn the_bytes_of_a_record_are_those_of_its_format() {
    assert_eq!(FORMAT, 3);
    for ((name, record), (expected, len, sum)) in records().into_iter().zip(BYTES) {
        let value = record.encode().expect("it fits");
        let found = (name, value.len(), &hex(&digest(&[&value]))[..16]);
        assert_eq!(found, (expected, len, sum), "{}", hex(&value));
        assert_eq!(Record::decode(&record.key(), &value).expect("readable"), record);
    }
    assert_eq!(records().len(), BYTES.len());
}

/// The length, and the beginning of the SHA-256.
const BYTES: [(&str, usize, &str); 16] = [
    ("pending", 187, "dd853a96e4391e29"),
    ("code", 213, "9e851e045b8288d0"),
    ("active", 249, "2b9a22ceacd58004"),
    ("denied", 32, "a2002cefe5c0255e"),
    ("by the client", 32, "08236a1b3c47a828"),
    ("by the user", 32, "949ee1fe202795c4"),
    ("by the operator", 32, "43e440b3f6097198"),
    ("code replayed", 32, "55b98803c88ff735"),
    ("token reused", 32, "0de689f5d61d632e"),
    ("guesses", 32, "d91a647585e63575"),
    ("account", 32, "8c0ca947c97343ea"),
    ("allowed", 50, "4c12da29b0bc8388"),
    ("withdrawing", 50, "79be9381570e0305"),
    ("withdrawn", 50, "421c6fe7b56b12f2"),
    ("session", 66, "1fc3e29b2975a761"),
    ("revoked subject", 14, "c9d039e31c99ea54"),
];
