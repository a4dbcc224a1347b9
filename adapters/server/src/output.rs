//! Results, for people and for scripts.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use grantor::model::{ApplicationType, ClientType, Rotation};
use grantor_redis::Report;
use serde_json::json;

use crate::admin::{AdminReply, ClientView, GrantView, SecretText, UserView};
use crate::config::Settings;

/// Writes to standard output. Whoever reads it may stop reading, as `head` does.
pub fn to_stdout(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a reply as JSON: the objects of the views, or an array of them.
pub fn json(out: &mut impl Write, reply: &AdminReply) -> io::Result<()> {
    let value = match reply {
        AdminReply::Client { client, client_secret } => {
            let mut value = serde_json::to_value(client)?;
            if let (Some(object), Some(secret)) = (value.as_object_mut(), client_secret) {
                object.insert("client_secret".to_owned(), serde_json::to_value(secret)?);
            }
            value
        }
        AdminReply::Clients(clients) => serde_json::to_value(clients)?,
        AdminReply::User(user) => serde_json::to_value(user)?,
        AdminReply::Users(users) => serde_json::to_value(users)?,
        AdminReply::Grants(grants) => serde_json::to_value(grants)?,
        AdminReply::Done => json!({}),
        AdminReply::Failed(why) => json!({ "error": why }),
    };
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

/// Writes a reply as text.
pub fn text(out: &mut impl Write, reply: &AdminReply) -> io::Result<()> {
    match reply {
        AdminReply::Client { client, client_secret } => {
            one_client(out, client, client_secret.as_ref())
        }
        AdminReply::Clients(clients) => list_clients(out, clients),
        AdminReply::User(user) => one_user(out, user),
        AdminReply::Users(users) => list_users(out, users),
        AdminReply::Grants(grants) => list_grants(out, grants),
        AdminReply::Done => writeln!(out, "Done."),
        AdminReply::Failed(why) => writeln!(out, "{why}"),
    }
}

/// Says that a configuration is fine, and what it comes to.
///
/// `redis` is what it was found to be, if that was looked at.
pub fn checked(
    out: &mut impl Write,
    settings: &Settings,
    redis: Option<&Report>,
) -> io::Result<()> {
    let mut table = pairs();
    table.add_row(["issuer", settings.issuer.as_str()]);
    table.add_row(["listen", &settings.listen.to_string()]);
    table.add_row(["storage", &settings.storage.to_string()]);
    // One line for each fact: what can be lost, each server, each thing to change.
    for line in redis.map(ToString::to_string).unwrap_or_default().lines() {
        table.add_row(["redis", line]);
    }
    table.add_row(["client_cache", &as_written(settings.client_cache)]);
    if let Some(socket) = settings.admin_socket() {
        table.add_row(["admin_socket", &socket.display().to_string()]);
    }
    if let Some(file) = &settings.trace_file {
        table.add_row(["trace_file", &file.display().to_string()]);
    }
    let policy = &settings.policy;
    table.add_row(["scopes", &policy.known_scope().to_string()]);
    let default_scope = policy.default_scope.as_ref();
    table.add_row([
        "default_scope",
        &default_scope.map_or_else(|| "none".to_owned(), ToString::to_string),
    ]);
    for (name, lifetime) in [
        ("interaction_lifetime", policy.interaction_lifetime),
        ("code_lifetime", policy.code_lifetime),
        ("access_token_lifetime", policy.access_token_lifetime),
        ("session_lifetime", policy.session_lifetime),
        ("secret_overlap", policy.secret_overlap),
    ] {
        table.add_row([name, &as_written(lifetime)]);
    }
    match &policy.refresh {
        Some(refresh) => {
            let rotation = match refresh.rotation {
                Rotation::Always => "always",
                Rotation::PublicClients => "public-clients",
            };
            table.add_row(["refresh.rotation", rotation]);
            for (name, lifetime) in [
                ("refresh.idle_lifetime", refresh.idle_lifetime),
                ("refresh.absolute_lifetime", refresh.absolute_lifetime),
                ("refresh.retry_window", refresh.retry_window),
            ] {
                table.add_row([name, &as_written(lifetime)]);
            }
        }
        None => {
            table.add_row(["refresh.enabled", "false"]);
        }
    }
    print(out, &table)?;
    writeln!(out, "The configuration is fine.")
}

fn one_client(
    out: &mut impl Write,
    client: &ClientView,
    secret: Option<&SecretText>,
) -> io::Result<()> {
    let mut table = pairs();
    table.add_row(["client_id", &client.client_id]);
    if let Some(secret) = secret {
        table.add_row(["client_secret", secret.0.expose()]);
    }
    table.add_row(["name", &client.name]);
    table.add_row(["type", &kind(client)]);
    for uri in &client.redirect_uris {
        table.add_row(["redirect_uri", uri]);
    }
    let grants: Vec<&str> = client.grant_types.iter().map(|grant| grant.as_str()).collect();
    table.add_row(["grants", &grants.join(" ")]);
    table.add_row(["scope", &client.scope]);
    let methods: Vec<&str> = client.auth_methods.iter().map(|method| method.as_str()).collect();
    if !methods.is_empty() {
        table.add_row(["auth_methods", &methods.join(" ")]);
    }
    for (name, on) in [
        ("resource_server", client.resource_server),
        ("skip_consent", client.skip_consent),
        ("pkce_optional", client.pkce_optional),
        ("localhost_any_port", client.localhost_any_port),
    ] {
        if on {
            table.add_row([name, "yes"]);
        }
    }
    for (name, uri) in [
        ("client_uri", &client.client_uri),
        ("logo_uri", &client.logo_uri),
        ("policy_uri", &client.policy_uri),
        ("tos_uri", &client.tos_uri),
    ] {
        if let Some(uri) = uri {
            table.add_row([name, uri]);
        }
    }
    table.add_row(["created_at", &client.created_at]);
    for secret in &client.secrets {
        let until = match &secret.expires_at {
            Some(at) => format!("of {}, works until {at}", secret.created_at),
            None => format!("of {}", secret.created_at),
        };
        table.add_row(["secret", &until]);
    }
    print(out, &table)?;
    if secret.is_some() {
        writeln!(
            out,
            "\nThe secret is shown now and never again: only its hash is kept. Put it where the \
             client reads it."
        )?;
    }
    if client.scope.is_empty() && !client.resource_server {
        writeln!(
            out,
            "\nIt has no scopes, so whatever it asks for is refused: add it with --scope."
        )?;
    }
    Ok(())
}

fn kind(client: &ClientView) -> String {
    let client_type = match client.client_type {
        ClientType::Confidential => "confidential",
        ClientType::Public => "public",
    };
    let application_type = match client.application_type {
        ApplicationType::Web => "web",
        ApplicationType::Native => "native",
    };
    format!("{client_type}, {application_type}")
}

fn list_clients(out: &mut impl Write, clients: &[ClientView]) -> io::Result<()> {
    let mut table = columns(["CLIENT ID", "NAME", "TYPE", "GRANTS", "SCOPE", "CREATED"]);
    for client in clients {
        let grants: Vec<&str> = client.grant_types.iter().map(|grant| grant.as_str()).collect();
        table.add_row([
            &client.client_id,
            &client.name,
            &kind(client),
            &grants.join(" "),
            &client.scope,
            &client.created_at,
        ]);
    }
    rows(out, &table, clients.len(), "client")
}

fn one_user(out: &mut impl Write, user: &UserView) -> io::Result<()> {
    let mut table = pairs();
    table.add_row(["username", &user.username]);
    table.add_row(["subject", &user.subject]);
    table.add_row(["state", state(user)]);
    table.add_row(["created_at", &user.created_at]);
    print(out, &table)
}

const fn state(user: &UserView) -> &'static str {
    match user.disabled {
        true => "disabled",
        false => "enabled",
    }
}

fn list_users(out: &mut impl Write, users: &[UserView]) -> io::Result<()> {
    let mut table = columns(["USERNAME", "SUBJECT", "STATE", "CREATED"]);
    for user in users {
        table.add_row([&*user.username, &user.subject, state(user), &user.created_at]);
    }
    rows(out, &table, users.len(), "user")
}

fn list_grants(out: &mut impl Write, grants: &[GrantView]) -> io::Result<()> {
    let mut table = columns(["GRANT", "USER", "CLIENT ID", "SCOPE", "STATE", "CREATED"]);
    for grant in grants {
        let user = grant.username.as_ref().or(grant.subject.as_ref());
        table.add_row([
            grant.id.as_str(),
            user.map_or("-", String::as_str),
            &grant.client_id,
            grant.scope.as_deref().unwrap_or("-"),
            &grant.state,
            &grant.created_at,
        ]);
    }
    rows(out, &table, grants.len(), "grant")
}

fn rows(out: &mut impl Write, table: &Table, count: usize, what: &str) -> io::Result<()> {
    match count {
        0 => writeln!(out, "There is no {what}."),
        _ => print(out, table),
    }
}

fn print(out: &mut impl Write, table: &Table) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(())
}

/// Lines of words, without drawn frames: these tables are searched and cut more often than admired.
fn columns<const N: usize>(names: [&str; N]) -> Table {
    let mut table = pairs();
    table.set_header(names);
    table
}

fn pairs() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A lifetime as one would write it: in the largest unit that divides it.
fn as_written(lifetime: Duration) -> String {
    let seconds = lifetime.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length));
    let (length, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / length)
}
