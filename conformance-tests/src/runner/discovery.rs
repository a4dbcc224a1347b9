//! What a server says about itself (RFC 8414, OpenID Connect Discovery).

use serde_json::Value;
use url::Url;

use super::probe::Line;
use super::wire::{Call, Reply};

/// Which rule put the document where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/.well-known/oauth-authorization-server` between host and path (RFC 8414 section 3.1).
    OAuth,
    /// `/.well-known/openid-configuration` after the path (OpenID Connect Discovery section 4).
    OpenId,
    /// `/.well-known/openid-configuration` between host and path (RFC 8414 section 5).
    OpenIdInserted,
    /// Where an option says.
    Configured,
}

/// A metadata document.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) place: Place,
    pub(crate) reply: Reply,
    pub(crate) content: Value,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovered {
    pub(crate) documents: Vec<Document>,
    /// What was tried, with what came back, to be told if nothing was found.
    pub(crate) tried: Vec<String>,
}

impl Discovered {
    /// The document of one place.
    pub(crate) fn at(&self, place: Place) -> Option<&Document> {
        self.documents.iter().find(|document| document.place == place)
    }

    /// The best document.
    pub(crate) fn best(&self) -> Option<&Document> {
        self.documents.first()
    }

    /// A member of the first document that has it.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.documents.iter().find_map(|document| document.content.get(name))
    }

    /// A member that is text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        Some(self.member(name)?.as_str()?.to_owned())
    }

    /// A member that is a list of texts.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        let items = self.member(name)?.as_array()?;
        Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
    }
}

/// The addresses at which an issuer's metadata may be.
pub(crate) fn places(issuer: &str) -> Vec<(Place, String)> {
    let Ok(url) = Url::parse(issuer) else { return Vec::new() };
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    vec![
        (Place::OAuth, format!("{origin}/.well-known/oauth-authorization-server{path}")),
        (Place::OpenId, format!("{origin}{path}/.well-known/openid-configuration")),
        (Place::OpenIdInserted, format!("{origin}/.well-known/openid-configuration{path}")),
    ]
}

/// Asks at every address.
pub(crate) async fn discover(
    line: &Line<'_>,
    issuer: &str,
    configured: Option<&str>,
) -> Discovered {
    let mut found = Discovered::default();
    let mut places = places(issuer);
    if let Some(url) = configured {
        places.insert(0, (Place::Configured, url.to_owned()));
    }
    let mut seen = Vec::new();
    for (place, url) in places {
        if seen.contains(&url) {
            continue;
        }
        seen.push(url.clone());
        match line.send(Call::get(&url)).await {
            Ok(reply) => {
                let content = reply.json();
                if reply.status.is_success() && content.is_object() {
                    found.documents.push(Document { place, reply, content });
                } else {
                    found.tried.push(format!("{url}: {}", reply.status));
                }
            }
            Err(error) => found.tried.push(error.to_string()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_issuer_goes_before_or_after() {
        let urls = |issuer| places(issuer).into_iter().map(|(_, url)| url).collect::<Vec<_>>();
        for issuer in ["https://as.example/t1", "https://as.example/t1/"] {
            assert_eq!(
                urls(issuer),
                [
                    "https://as.example/.well-known/oauth-authorization-server/t1",
                    "https://as.example/t1/.well-known/openid-configuration",
                    "https://as.example/.well-known/openid-configuration/t1",
                ]
            );
        }
        let first = urls("http://127.0.0.1:8400").into_iter().next();
        let expected = "http://127.0.0.1:8400/.well-known/oauth-authorization-server";
        assert_eq!(first.as_deref(), Some(expected));
    }
}
