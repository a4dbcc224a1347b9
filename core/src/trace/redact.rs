//! The same question without its secrets.
//!
//! A decision compares what was presented with hashes in the records. So a secret can be exchanged
//! for another one on both sides, and the decision stays what it was. The substitutes are made under
//! a key that is then forgotten, and open nothing at any server.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::engine::Facts;
use crate::model::{
    Account, CodeChallenge, CodeVerifier, Grant, GrantState, Handle, RefreshToken, Secret,
    SecretHash, SecretString,
};
use crate::protocol::authorize::{code_secret, ticket};
use crate::protocol::refresh::Successor;
use crate::storage::Record;

/// Exchanges secrets.
pub(super) struct Redactor<'a> {
    key: &'a Secret,
    facts: &'a Facts,
    account: Option<&'a Account>,
    /// What stands in a record for a secret, and what stands there for its substitute.
    exchanged: Vec<([u8; 32], [u8; 32])>,
}

impl<'a> Redactor<'a> {
    pub(super) const fn new(
        key: &'a Secret,
        facts: &'a Facts,
        account: Option<&'a Account>,
    ) -> Self {
        Self { key, facts, account, exchanged: Vec::new() }
    }

    pub(super) fn handle(&mut self, handle: &Handle) -> Handle {
        Handle::new(handle.kind, handle.id, self.secret(&handle.secret))
    }

    pub(super) fn secret(&mut self, secret: &Secret) -> Secret {
        let mut substitute = self.key.derive("grantor trace secret", secret.expose());
        let families = self.refresh_tokens();
        // A retired refresh token is known by the mark of its family.
        if let Some(token) = families.iter().find(|token| token.is_of_family(secret)) {
            substitute = RefreshToken::mark(&self.refresh_token(token).family, &substitute);
        }
        self.exchange(secret, &substitute);
        // Records also hold hashes of what was derived from a secret.
        self.exchange(&code_secret(secret), &code_secret(&substitute));
        for token in families {
            let successor = |token: &RefreshToken, from| {
                let previous = token.previous.as_ref()?;
                Some(Successor::derive(from, &token.family, &previous.nonce))
            };
            let real = successor(&token, secret);
            let ours = successor(&self.refresh_token(&token), &substitute);
            if let Some((real, ours)) = real.zip(ours) {
                self.exchange(&real.refresh, &ours.refresh);
                self.exchange(&real.access, &ours.access);
            }
        }
        substitute
    }

    /// A secret that is text to its holder.
    pub(super) fn text(&mut self, secret: &str) -> String {
        let substitute = self.substitute_text(secret, 43);
        self.exchanged.push((
            *SecretHash::of_text(secret).bytes(),
            *SecretHash::of_text(&substitute).bytes(),
        ));
        substitute
    }

    /// A `code_verifier`: well-formed if it was, and as long.
    pub(super) fn verifier(&mut self, text: &str) -> String {
        let Some(verifier) = CodeVerifier::parse(text) else {
            return "?".repeat(text.len().min(CodeVerifier::MAX_LEN + 1));
        };
        let substitute = self.substitute_text(text, text.len());
        if let Some(ours) = CodeVerifier::parse(&substitute) {
            let (real, ours) = (CodeChallenge::of(&verifier), CodeChallenge::of(&ours));
            self.exchanged.push((*real.bytes(), *ours.bytes()));
        }
        substitute
    }

    /// The ticket of a consent page: right, wrong or unreadable, as it was.
    pub(super) fn ticket(
        &mut self,
        shown: &SecretString,
        interaction: &Secret,
        substitute: &Secret,
    ) -> String {
        let Some(secret) = Secret::parse(shown.expose()) else {
            return "unreadable".to_owned();
        };
        let right = self
            .account
            .filter(|account| SecretHash::of(&ticket(interaction, account)).matches(&secret));
        let ours = right.map_or_else(
            || self.key.derive("grantor trace secret", secret.expose()),
            |account| ticket(substitute, account),
        );
        SecretString::of(&ours).expose().to_owned()
    }

    /// Text that may hold a secret of the client, such as `state`, where at most its length is ever
    /// looked at.
    pub(super) fn blank(text: &str) -> String {
        "x".repeat(text.len())
    }

    /// The refresh side of a record with another family and another nonce. Whoever knew the real ones
    /// could end the authorization with a refresh token that was never issued, and could make the
    /// current one out of the retired one.
    fn refresh_token(&self, token: &RefreshToken) -> RefreshToken {
        let exchanged = |bytes: &[u8; 16]| {
            let derived = self.key.derive("grantor trace refresh", bytes);
            let mut ours = [0; 16];
            ours.copy_from_slice(derived.expose().split_at(16).0);
            ours
        };
        let mut token = token.clone();
        token.family = exchanged(&token.family);
        if let Some(previous) = &mut token.previous {
            previous.nonce = exchanged(&previous.nonce);
        }
        token
    }

    /// A record, with everything exchanged that was presented.
    pub(super) fn record(&self, record: &Record) -> Option<Vec<u8>> {
        let mut record = record.clone();
        if let Record::Grant(Grant { state, .. }) = &mut record {
            let state = match state {
                GrantState::Pending(pending) => &mut pending.state,
                GrantState::CodeIssued(code) => &mut code.state,
                GrantState::Active(active) => {
                    active.refresh = active.refresh.as_ref().map(|token| self.refresh_token(token));
                    &mut None
                }
                GrantState::Revoked(_) => &mut None,
            };
            *state = state.as_deref().map(Self::blank);
        }
        let mut bytes = record.encode().ok()?;
        // 128 bits do not occur by accident, so this needs to know nothing about the record. Some hashes
        // are kept whole, some only their first half.
        for (real, ours) in &self.exchanged {
            let (half, _) = real.split_at(real.len() / 2);
            let mut from = 0;
            while let Some(at) = bytes.get(from..).and_then(|rest| find(rest, half)) {
                from += at;
                let whole = bytes.get(from..).is_some_and(|rest| rest.starts_with(real));
                let len = if whole { real.len() } else { half.len() };
                let place = bytes.get_mut(from..from + len).unwrap_or_default();
                place.iter_mut().zip(ours).for_each(|(to, from)| *to = *from);
                from += len;
            }
        }
        Some(bytes)
    }

    fn exchange(&mut self, real: &Secret, ours: &Secret) {
        self.exchanged.push((*SecretHash::of(real).bytes(), *SecretHash::of(ours).bytes()));
    }

    fn substitute_text(&self, secret: &str, len: usize) -> String {
        let mut text = String::with_capacity(len + 43);
        let mut block = self.key.derive("grantor trace secret", secret.as_bytes());
        while text.len() < len {
            URL_SAFE_NO_PAD.encode_string(block.expose(), &mut text);
            block = block.derive("grantor trace more", b"");
        }
        text.truncate(len);
        text
    }

    fn refresh_tokens(&self) -> Vec<RefreshToken> {
        let refresh_token = |record: &Record| match record {
            Record::Grant(Grant { state: GrantState::Active(active), .. }) => {
                active.refresh.clone()
            }
            _ => None,
        };
        self.facts.iter().filter_map(|(_, record)| record.and_then(refresh_token)).collect()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
