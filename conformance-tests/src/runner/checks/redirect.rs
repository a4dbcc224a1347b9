//! Where answers are sent, and where they never are.

use url::Url;

use crate::runner::browser::{Landing, Plan, belongs_to};
use crate::runner::check::{Check, check};
use crate::runner::config::{Client, Role};
use crate::runner::page::Page;
use crate::runner::probe::Probe;
use crate::runner::verdict::{Outcome, Stop, require};

use super::{shown, together};

pub(super) const CHECKS: &[Check] = &[
    check!(
        ["6749-027", "9700-019", "9700-001", "OA21-004"],
        exact_match,
        "redirect URIs that differ from the registered one: host, scheme, path, port, query, userinfo, case, escapes",
        "no redirect to any of them"
    ),
    check!(
        ["6749-028"],
        same_bytes,
        "redirect URIs that a URL library takes for equal: case of host and scheme, default port, escapes, dot segments",
        "no redirect to any of them"
    ),
    check!(
        ["6749-029"],
        shown_to_the_user,
        "an unregistered redirect URI; an unknown client",
        "an error page without redirect, link, refresh or script that leads there"
    ),
    check!(
        ["6749-020"],
        absolute,
        "redirect URIs that are not absolute",
        "no redirect to any of them"
    ),
    check!(
        ["6749-022"],
        no_fragment,
        "the registered redirect URI with a fragment",
        "no redirect to it"
    ),
    check!(
        ["6749-021"],
        query_is_kept,
        "a registered redirect URI that has a query",
        "the query comes back as it was, once, with the answer added"
    ),
    check!(
        ["6749-026", "OA21-011"],
        which_of_several,
        "no redirect_uri, from a client that registered several",
        "an error page, and no guess"
    ),
    check!(
        ["8252-001"],
        native_flow,
        "a good request of a native app, with S256",
        "a code and tokens"
    ),
    check!(
        ["8252-003"],
        any_port,
        "the registered loopback redirect URI with other ports",
        "the answer comes to that port"
    ),
    check!(
        ["8252-004"],
        only_the_port,
        "loopback redirect URIs that differ in more than the port, or in other spellings of the host",
        "no redirect to any of them"
    ),
    check!(
        ["8252-005"],
        no_port_elsewhere,
        "the registered https redirect URI with another port",
        "no redirect to it"
    ),
];

/// Sends a request with this redirect URI, and expects that nothing is ever sent there.
async fn never_sent_to(probe: &Probe<'_>, client: &Client, uri: &str) -> Outcome {
    let ask = probe.ask(client)?.back_to(uri);
    match probe.reach(&ask).await? {
        // An error that went to the registered address, and the place alone is the same.
        Landing::Client(answer)
            if answer.get("code").is_none() && !answer.location.starts_with(uri) =>
        {
            Ok(())
        }
        Landing::Client(answer) => {
            Err(Stop::Fail(format!("redirect_uri={uri:?} was redirected to: {}", answer.location)))
        }
        Landing::Away(location) => {
            let registered = client.redirect_uris.iter().any(|one| belongs_to(&location, one));
            require!(registered, "redirect_uri={uri:?} led to {location}");
            require!(
                !location.contains("code="),
                "redirect_uri={uri:?}: a code was sent to another redirect URI"
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The same for each of these.
async fn never_sent_to_any(probe: &Probe<'_>, client: &Client, uris: &[String]) -> Outcome {
    let mut findings = Vec::new();
    for uri in uris {
        findings.extend(never_sent_to(probe, client, uri).await.err());
    }
    together(findings, uris.len())
}

/// The registered redirect URI with a host of its own, and its parts.
fn web<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, String, Url)> {
    let candidates = [Role::Confidential, Role::Public, Role::ConfidentialOther, Role::PublicOther];
    for role in candidates {
        let Ok(client) = probe.client(role) else { continue };
        let found = client.redirect_uris.iter().find(|uri| {
            Url::parse(uri).is_ok_and(|url| url.scheme() == "https" && url.query().is_none())
        });
        if let Some(uri) = found
            && let Ok(url) = Url::parse(uri)
        {
            return Ok((client, uri.clone(), url));
        }
    }
    Err(Stop::Inconclusive(
        "no client has an https redirect URI without a query to vary".to_owned(),
    ))
}

async fn exact_match(probe: &Probe<'_>) -> Outcome {
    let (client, uri, url) = web(probe)?;
    let host = url.host_str().unwrap_or_default();
    let path = url.path();
    let odd = [
        format!("https://{host}.evil.example{path}"),
        format!("https://evil.example/{uri}"),
        format!("https://{host}@evil.example{path}"),
        format!("https://evil.example\\@{host}{path}"),
        format!("https://u:p@{host}{path}"),
        format!("{uri}2"),
        format!("{uri}/"),
        format!("{uri}/../evil"),
        format!("{uri}/%2e%2e/evil"),
        format!("{uri}?x=1"),
        format!("{uri};x"),
        format!("{uri}%00"),
        format!("{uri}%0d%0aLocation:%20https://evil.example"),
        format!("http://{host}{path}"),
        format!("https://{host}:444{path}"),
        format!("https://*.{host}{path}"),
        format!(" {uri}"),
        "https://evil.example/".to_owned(),
        "javascript:alert(1)".to_owned(),
        "data:text/html,evil".to_owned(),
    ];
    never_sent_to_any(probe, client, &odd).await
}

async fn same_bytes(probe: &Probe<'_>) -> Outcome {
    let (client, uri, url) = web(probe)?;
    let host = url.host_str().unwrap_or_default();
    let path = url.path();
    let rest = path.strip_prefix('/').unwrap_or_default();
    let mut odd = vec![
        uri.replacen("https", "HTTPS", 1),
        format!("https://{}{path}", host.to_uppercase()),
        format!("https://{host}:443{path}"),
        format!("https://{host}:{path}"),
        format!("https://{host}/./{rest}"),
        format!("https://{host}/x/../{rest}"),
        format!("https://{host}//{rest}"),
        format!("https://{host}.{path}"),
        format!("{uri}?"),
    ];
    if let Some(first) = rest.chars().next().filter(char::is_ascii_alphabetic) {
        let after = rest.get(1..).unwrap_or_default();
        odd.push(format!("https://{host}/%{:02X}{after}", u32::from(first)));
        odd.push(format!("https://{host}/{}", rest.to_uppercase()));
    }
    odd.retain(|odd| *odd != uri);
    never_sent_to_any(probe, client, &odd).await
}

async fn shown_to_the_user(probe: &Probe<'_>) -> Outcome {
    let evil = "https://evil.example/grantor";
    let client = probe.any_client()?;
    let ask = probe.ask(client)?;
    for ask in [
        ask.clone().back_to(evil),
        ask.clone().back_to(evil).with("response_type", "grantor_unknown"),
        ask.clone().back_to(evil).with("prompt", "none"),
        ask.clone().back_to(evil).with("scope", "grantor_unknown"),
        ask.back_to(evil).with("client_id", "grantor-conformance-unknown-client"),
    ] {
        let landing = probe.reach(&ask).await?;
        shown(&landing, "an unregistered redirect URI")?;
        let Landing::Page(reply) = &landing else { continue };
        let page = Page::parse(&reply.text());
        let leads = page.addresses.iter().find(|(_, address)| address.contains("evil.example"));
        require!(leads.is_none(), "the error page leads there: {:?}", leads);
    }
    let unknown = probe.ask(client)?.with("client_id", "grantor-conformance-unknown-client");
    shown(&probe.reach(&unknown).await?, "an unknown client")
}

async fn absolute(probe: &Probe<'_>) -> Outcome {
    let client = probe.any_client()?;
    let registered = client.redirect_uri();
    let rest = registered.split_once("://").map_or("client.example/cb", |(_, rest)| rest);
    let odd = [
        "/callback".to_owned(),
        "callback".to_owned(),
        format!("//{rest}"),
        format!("https:/{rest}"),
        format!("https:{rest}"),
        "https://".to_owned(),
        "https://client.example:port/callback".to_owned(),
    ];
    never_sent_to_any(probe, client, &odd).await
}

async fn no_fragment(probe: &Probe<'_>) -> Outcome {
    for client in probe.both()? {
        let uri = client.redirect_uri();
        let odd = [format!("{uri}#x"), format!("{uri}#"), format!("{uri}%23x")];
        never_sent_to_any(probe, client, &odd).await?;
    }
    Ok(())
}

async fn query_is_kept(probe: &Probe<'_>) -> Outcome {
    let with_query =
        |client: &Client| client.redirect_uris.iter().find(|uri| uri.contains('?')).cloned();
    let found = probe.target.clients.values().find_map(|c| Some((c, with_query(c)?)));
    let Some((client, uri)) = found else {
        return Err(Stop::Inconclusive(
            "no client has a redirect URI with a query: give one under [clients.several]"
                .to_owned(),
        ));
    };
    let grant = probe.code(&probe.ask(client)?.back_to(&uri)).await?;
    let location = &grant.answer.location;
    require!(
        location.starts_with(&format!("{uri}&")),
        "the answer does not begin with the registered address: {location}"
    );
    require!(location.matches('?').count() == 1, "there are two question marks: {location}");
    Ok(())
}

async fn which_of_several(probe: &Probe<'_>) -> Outcome {
    let found = probe.target.clients.values().find(|client| client.redirect_uris.len() > 1);
    let Some(client) = found else {
        return Err(Stop::Inconclusive(
            "no client has several redirect URIs: give one under [clients.several]".to_owned(),
        ));
    };
    shown(&probe.reach(&probe.ask(client)?.without("redirect_uri")).await?, "no redirect_uri")
}

/// A public client with a redirect URI on a loopback address, and its parts.
fn native<'p>(probe: &Probe<'p>) -> Outcome<(&'p Client, String, String)> {
    let client = probe.client(Role::Native)?;
    for uri in &client.redirect_uris {
        let Some(rest) = uri.strip_prefix("http://") else { continue };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        if ["127.0.0.1", "[::1]"].contains(&name) {
            return Ok((client, name.to_owned(), path.to_owned()));
        }
    }
    Err(Stop::Inconclusive(
        "the native client has no redirect URI at http://127.0.0.1 or http://[::1]".to_owned(),
    ))
}

async fn native_flow(probe: &Probe<'_>) -> Outcome {
    let (client, _, _) = native(probe)?;
    probe.tokens(client).await.map(drop).map_err(Stop::or_fail)
}

async fn any_port(probe: &Probe<'_>) -> Outcome {
    let (client, host, path) = native(probe)?;
    for port in [1024, 49152, 65535] {
        let uri = format!("http://{host}:{port}{path}");
        let landing = probe.walk(&probe.ask(client)?.back_to(&uri), Plan::Allow).await?;
        let came = matches!(&landing, Landing::Client(answer) if answer.get("code").is_some());
        require!(came, "port {port}: {}", landing.describe());
    }
    Ok(())
}

async fn only_the_port(probe: &Probe<'_>) -> Outcome {
    let (client, host, path) = native(probe)?;
    let odd = [
        format!("https://{host}:5000{path}"),
        format!("http://{host}:5000{path}/other"),
        format!("http://{host}:5000{path}?x=1"),
        format!("http://u@{host}:5000{path}"),
        format!("http://{host}:5000@evil.example{path}"),
        format!("http://{host}.evil.example:5000{path}"),
        format!("http://127.1:5000{path}"),
        format!("http://2130706433:5000{path}"),
        format!("http://0x7f000001:5000{path}"),
        format!("http://127.0.0.2:5000{path}"),
        format!("http://[::ffff:127.0.0.1]:5000{path}"),
        format!("http://evil.example:5000{path}"),
    ];
    never_sent_to_any(probe, client, &odd).await
}

async fn no_port_elsewhere(probe: &Probe<'_>) -> Outcome {
    let (client, _, url) = web(probe)?;
    let host = url.host_str().unwrap_or_default();
    for port in [444, 8443] {
        never_sent_to(probe, client, &format!("https://{host}:{port}{}", url.path())).await?;
    }
    Ok(())
}
