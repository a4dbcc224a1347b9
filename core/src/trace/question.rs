//! What the protocol is asked, and its answer.

use crate::engine::{Browser, Facts, Present, TokenRequest};
use crate::model::{Account, ClientId, Handle, ScopeSet};
use crate::protocol::authorize::{self, AuthorizationRequest};
use crate::protocol::client_auth::{PresentedClient, VerifiedClient, authenticate};
use crate::protocol::consent::{self, ConsentRequest};
use crate::protocol::introspect::{self, TokenFacts};
use crate::protocol::{Context, Entropy, Refusal, bearer, revoke};
use crate::storage::Key;
use crate::trace::Decided;

/// A request, with all of it that a decision may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    Token { caller: &'a PresentedClient, request: &'a TokenRequest },
    Revoke { caller: &'a PresentedClient, token: Option<&'a Handle> },
    Introspect { caller: &'a PresentedClient, token: Option<&'a Handle> },
    Bearer { token: &'a Handle, scope: &'a ScopeSet },
    Authorize { request: &'a AuthorizationRequest, browser: &'a Browser },
    Resume { interaction: &'a Handle, browser: &'a Browser },
    Remember { request: &'a ConsentRequest, browser: &'a Browser },
    Answer { request: &'a ConsentRequest, browser: &'a Browser },
}

impl Question<'_> {
    /// What the audit log calls the step.
    pub(crate) const fn step(&self) -> &'static str {
        match self {
            Self::Token { request, .. } => request.step(),
            Self::Revoke { .. } => "revoke",
            Self::Introspect { .. } => "introspect",
            Self::Bearer { .. } => "bearer",
            Self::Authorize { .. } => "authorize",
            Self::Resume { .. } => "resume",
            Self::Remember { .. } | Self::Answer { .. } => "consent",
        }
    }

    /// Asks again: the same decision functions, on these facts.
    pub(super) fn decide(
        self,
        facts: &Facts,
        account: Option<&Account>,
        ctx: Context<'_>,
        entropy: &mut Entropy,
    ) -> Decided {
        let verified = |caller| verified(caller, facts, ctx);
        match self {
            Self::Token { caller, request } => match verified(caller) {
                Ok(client) => Decided::of(&request.decide(client, facts, account, ctx, entropy)),
                Err(refusal) => Decided::refused(&refusal),
            },
            Self::Revoke { caller, token } => match (verified(caller), token) {
                (Ok(client), Some(token)) => {
                    let grant = facts.grant(&Key::grant(token.id));
                    Decided::of(&revoke::by_client(token, client, grant, ctx))
                }
                (Ok(_), None) => Decided::of_answer(&Ok::<_, Refusal>(())),
                (Err(refusal), _) => Decided::refused(&refusal),
            },
            Self::Introspect { caller, token } => {
                let key = token.map(|token| Key::grant(token.id));
                let found = TokenFacts::of(facts, key.as_ref(), account);
                Decided::of_answer(
                    &verified(caller)
                        .and_then(|caller| introspect::introspect(token, caller, found, ctx)),
                )
            }
            Self::Bearer { token, scope } => {
                let key = Key::grant(token.id);
                let found = TokenFacts::of(facts, Some(&key), account);
                Decided::of_answer(&bearer::check(token, scope, found, ctx))
            }
            Self::Authorize { request, browser } => {
                let client = request.client_id.as_deref().and_then(|id| ClientId::parse(id).ok());
                let present = Present::of(browser, client.as_ref(), facts, account.cloned(), ctx);
                let visitor = present.visitor(facts, browser);
                let client = facts.client(client.as_ref());
                Decided::of(&authorize::begin(request, client, visitor, ctx, entropy))
            }
            Self::Resume { interaction, browser } => {
                let grant = facts.grant(&Key::grant(interaction.id));
                let client = grant.map(|grant| &grant.client_id);
                let present = Present::of(browser, client, facts, account.cloned(), ctx);
                let visitor = present.visitor(facts, browser);
                let client = facts.client(client);
                Decided::of(&authorize::resume(interaction, grant, client, visitor, ctx))
            }
            Self::Remember { request, browser } | Self::Answer { request, browser } => {
                let grant = facts.grant(&Key::grant(request.interaction.id));
                let client = grant.map(|grant| &grant.client_id);
                let present = Present::of(browser, client, facts, account.cloned(), ctx);
                let visitor = present.visitor(facts, browser);
                let client = facts.client(client);
                if matches!(self, Self::Remember { .. }) {
                    Decided::of(&consent::remember(request, grant, client, visitor, ctx))
                } else {
                    Decided::of(&consent::answer(request, grant, client, visitor, ctx))
                }
            }
        }
    }
}

fn verified<'a>(
    caller: &PresentedClient,
    facts: &'a Facts,
    ctx: Context<'_>,
) -> Result<VerifiedClient<'a>, Refusal> {
    let client_id = ClientId::parse(caller.client_id.as_str()).ok();
    authenticate(caller, facts.client(client_id.as_ref()), ctx.now)
}
