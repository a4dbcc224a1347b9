//! What must hold, each with the clause that demands it.

use std::fmt;

macro_rules! invariants {
    ($($name:ident, $clause:literal, $statement:literal;)*) => {
        /// Something that holds on every walk, whatever clients, users, thieves and the store do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $(#[doc = $statement] #[doc = ""] #[doc = $clause] $name,)*
        }

        impl Invariant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The clause that demands it.
            pub const fn clause(self) -> &'static str {
                match self { $(Self::$name => $clause,)* }
            }

            /// What it says.
            pub const fn statement(self) -> &'static str {
                match self { $(Self::$name => $statement,)* }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

invariants! {
    OneTokenSetPerCode, "RFC 6749 section 4.1.2, section 10.5",
        "A code yields at most one token set.";
    ReplayEndsTheGrant, "RFC 6749 section 4.1.2, OAuth 2.1 section 7.5.2",
        "A code presented twice with all its proof leaves nothing alive that it issued.";
    CodeExpires, "RFC 6749 section 4.1.2",
        "A code does not work after its lifetime.";
    CodeBoundToClient, "RFC 6749 section 4.1.3, section 5.2",
        "A code works for the client that it was issued to, and for no other.";
    CodeBoundToVerifier, "RFC 7636 section 4.6",
        "A code works only with the verifier of its challenge, and guesses are bounded.";
    CodeBoundToRedirectUri, "RFC 6749 section 4.1.3",
        "A code does not work with another redirection URI than it was sent to.";
    PkceRequired, "RFC 7636 section 4.4.1, OAuth 2.1 section 4.1.1",
        "An authorization request without an S256 challenge gets no code.";
    ScopeWithinConsent, "RFC 6749 section 3.3",
        "The scope of a token is what its user allowed, and is told truthfully.";
    RefreshedScopeWithinGranted, "RFC 6749 section 6",
        "A refresh narrows the scope and never widens it.";
    ScopeKnown, "RFC 6749 section 3.3, section 4.1.2.1",
        "A scope that does not exist, or that the client may not have, is refused.";
    ConsentAsked, "RFC 6749 section 1.2, section 10.2",
        "Nobody gets a code unless the user who is signed in has allowed it.";
    SignInRequired, "RFC 6749 section 3.1, section 10.12",
        "Nobody answers for a user without being signed in as that user; a session that ended opens nothing.";
    InteractionBoundToBrowser, "RFC 6749 section 10.12",
        "A pending authorization opens only in the browser that began it.";
    InteractionAnsweredOnce, "RFC 9700 section 4.2.4",
        "A pending authorization is answered once, in time; the same page sent again gets the same code and no other.";
    RedirectOnlyToRegistered, "RFC 6749 section 3.1.2.4, RFC 9700 section 2.1",
        "A browser is sent only to a redirection URI that the client registered.";
    StateAndIssuerReturned, "RFC 6749 section 4.1.2, RFC 9207 section 2",
        "state comes back unchanged, beside the issuer.";
    ReuseEndsTheGrant, "RFC 9700 section 4.14.2, OAuth 2.1 section 4.3.1",
        "A retired refresh token does not work, and its detected reuse leaves nothing alive.";
    RetryGetsTheSameAnswer, "RFC 9700 section 4.14.2",
        "An honest client that repeats a refresh inside the window gets the same answer and is not punished.";
    RefreshTokenBoundToClient, "RFC 6749 section 6, section 10.4",
        "A refresh token works for its client, and for no other.";
    RefreshTokenExpires, "OAuth 2.1 section 4.3.3",
        "A refresh token does not work when it was idle too long, or when the authorization is too old.";
    AccessTokenExpires, "RFC 6749 section 5.1, RFC 7662 section 2.2",
        "An access token does not outlive its lifetime.";
    NoRefreshForServices, "RFC 6749 section 4.4.3",
        "A client that acts for itself gets no refresh token.";
    ClientAuthenticates, "RFC 6749 section 3.2.1",
        "A confidential client gets nothing without a secret of its own that is valid now.";
    RotatedSecretOverlaps, "RFC 6749 section 2.3.1",
        "A replaced secret works through its overlap, and so do the new one and everything issued.";
    RevokedByClientIsOver, "RFC 7009 section 2.1, section 2.2",
        "What its client revoked is not active: a refresh token with its whole authorization.";
    RevocationIsTheOwners, "RFC 7009 section 2.1",
        "Nobody revokes the token of another client.";
    WithdrawnIsOver, "RFC 7009 section 1, OAuth 2.1 section 7.9",
        "When a withdrawal of consent is answered, nothing that stood on it is active.";
    ClientGoneIsOver, "RFC 7592 section 2.3, RFC 9700 section 4.14.2",
        "Nothing of a removed client is active, nor what was revoked with everything of a client.";
    UserGoneIsOver, "RFC 7662 section 4",
        "Nothing of a disabled user is active.";
    UserRevokedIsOver, "RFC 9700 section 4.14.2",
        "When everything of a user was revoked, no session, code or token of before is active.";
    DeadStaysDead, "RFC 7009 section 2.2, RFC 7662 section 2.2",
        "What was once seen to be over never comes back.";
    ThiefHarmsNobody, "OAuth 2.1 section 7.5.2",
        "A request that was refused without proof changes nothing for the honest client.";
    HonestIsServed, "RFC 6749 section 5.1",
        "A request with nothing wrong in it is granted.";
    IntrospectionDisclosesNothing, "RFC 7662 section 2.2, section 4",
        "A token is inactive to a caller that may not know it, and a public client is told nothing.";
    AnswerIsTrue, "RFC 7662 section 2.2, RFC 6749 section 5.1",
        "What is told of an active token is so: client, user, scope and times.";
    TokenOpensItsScopeOnly, "RFC 6750 section 3.1",
        "A Bearer token opens no resource beyond its scope.";
    UnknownIsNothing, "RFC 7662 section 2.2, RFC 6750 section 3.1",
        "A text that is no token of that kind is not active and opens nothing.";
    SecretsNeverTold, "RFC 6749 section 10.3, section 10.4",
        "No secret is in an audit event or in the store.";
    AvailableWithoutTrouble, "RFC 9110 section 15.6.4",
        "Not now is answered only while something is away.";
    NothingUnforeseen, "RFC 6749 section 5.2",
        "Every answer is one of those that the endpoint is specified to give.";
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.clause(), self.statement())
    }
}
