//! HTML pages as a browser without scripts meets them: forms, links, automatic reloads.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

/// What is on a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) forms: Vec<Form>,
    pub(crate) links: Vec<Link>,
    /// Where `<meta http-equiv="refresh">` leads.
    pub(crate) refresh: Option<String>,
    /// What `<meta name="referrer">` says.
    pub(crate) referrer: Option<String>,
    /// Every address that the page loads or leads to, with the element that does.
    pub(crate) addresses: Vec<(String, String)>,
    /// Scripts whose text is in the page, and attributes such as `onclick`.
    pub(crate) inline_scripts: usize,
    /// The text that a reader sees.
    pub(crate) text: String,
}

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// As it is written; empty for the page's own address.
    pub(crate) action: String,
    /// In lower case.
    pub(crate) method: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) buttons: Vec<Button>,
}

/// Something in a form that has a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// In lower case; `select` and `textarea` for these.
    pub(crate) kind: String,
    pub(crate) value: String,
    /// Whether it is sent: ticked, or of a kind that always is.
    pub(crate) on: bool,
}

/// Something in a form that sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) label: String,
    /// Where it sends the form to, if not to the form's own address.
    pub(crate) action: Option<String>,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) label: String,
}

impl Form {
    /// Whether it asks for a password.
    pub(crate) fn asks_for_password(&self) -> bool {
        self.fields.iter().any(|field| field.kind == "password")
    }
}

impl Page {
    /// Reads a page. Nothing is an error: a page that is no HTML has no forms.
    pub(crate) fn parse(html: &str) -> Self {
        let mut emitter = DefaultEmitter::<()>::default();
        // So that what looks like a tag inside a script or a style is none.
        emitter.naively_switch_states(true);
        let mut reader = Reader::default();
        for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
            match token {
                Token::StartTag(tag) => reader.open(&tag),
                Token::EndTag(tag) => reader.close(&String::from_utf8_lossy(&tag.name)),
                Token::String(text) => reader.text(&String::from_utf8_lossy(&text)),
                _ => {}
            }
        }
        reader.finish()
    }
}

#[derive(Default)]
struct Reader {
    page: Page,
    form: Option<Form>,
    ids: Vec<Option<String>>,
    /// Fields and buttons that name their form, wherever they stand.
    elsewhere: Vec<(String, Piece)>,
    button: Option<(Button, Option<String>)>,
    link: Option<Link>,
    select: Option<(Field, bool, Option<String>)>,
    textarea: Option<(Field, Option<String>)>,
    raw: Option<String>,
}

enum Piece {
    Field(Field),
    Button(Button),
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

impl Reader {
    fn open(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        let get = |attr: &str| attribute(tag, attr);
        let handlers = tag.attributes.keys().filter(|key| key.starts_with(b"on")).count();
        self.page.inline_scripts += handlers;
        for source in ["src", "href", "action", "formaction", "data", "poster"] {
            if let Some(address) = get(source) {
                self.page.addresses.push((name.clone(), address));
            }
        }
        let owner = get("form");
        match name.as_str() {
            "form" if self.form.is_none() => {
                self.form = Some(Form {
                    action: get("action").unwrap_or_default(),
                    method: get("method").unwrap_or_else(|| "get".into()).to_ascii_lowercase(),
                    ..Form::default()
                });
                self.ids.push(get("id"));
            }
            "input" => self.input(&get, owner),
            "button" => {
                let kind = get("type").unwrap_or_default().to_ascii_lowercase();
                if kind != "button" && kind != "reset" && get("disabled").is_none() {
                    let button = Button {
                        name: get("name").unwrap_or_default(),
                        value: get("value").unwrap_or_default(),
                        label: String::new(),
                        action: get("formaction"),
                    };
                    self.button = Some((button, owner));
                }
            }
            "a" => {
                if let Some(target) = get("href") {
                    self.link = Some(Link { target, label: String::new() });
                }
            }
            "select" => {
                let field = Field {
                    name: get("name").unwrap_or_default(),
                    kind: "select".into(),
                    value: String::new(),
                    on: get("disabled").is_none(),
                };
                self.select = Some((field, false, owner));
            }
            "option" => {
                if let Some((field, chosen, _)) = &mut self.select {
                    let value = get("value").unwrap_or_default();
                    let selected = get("selected").is_some();
                    if selected || (!*chosen && field.value.is_empty()) {
                        field.value = value;
                        *chosen |= selected;
                    }
                }
            }
            "textarea" => {
                let field = Field {
                    name: get("name").unwrap_or_default(),
                    kind: "textarea".into(),
                    value: String::new(),
                    on: get("disabled").is_none(),
                };
                self.textarea = Some((field, owner));
            }
            "meta" if get("http-equiv").is_some_and(|v| v.eq_ignore_ascii_case("refresh")) => {
                let content = get("content").unwrap_or_default();
                if let Some((_, target)) = content.split_once('=') {
                    let target = target.trim().trim_matches(['"', '\'']);
                    self.page.refresh = Some(target.to_owned());
                    self.page.addresses.push((name.clone(), target.to_owned()));
                }
            }
            "meta" if get("name").is_some_and(|v| v.eq_ignore_ascii_case("referrer")) => {
                self.page.referrer = get("content");
            }
            "script" => {
                if get("src").is_none() {
                    self.page.inline_scripts += 1;
                }
                self.raw = Some(name);
            }
            "style" | "noscript" | "template" => self.raw = Some(name),
            _ => {}
        }
    }

    fn input(&mut self, get: &dyn Fn(&str) -> Option<String>, owner: Option<String>) {
        let kind = get("type").unwrap_or_else(|| "text".into()).to_ascii_lowercase();
        if get("disabled").is_some() {
            return;
        }
        let name = get("name").unwrap_or_default();
        let value = get("value");
        match kind.as_str() {
            "submit" | "image" => {
                let value = value.unwrap_or_default();
                let button =
                    Button { name, label: value.clone(), value, action: get("formaction") };
                self.place(Piece::Button(button), owner);
            }
            "button" | "reset" => {}
            _ => {
                let ticked = matches!(kind.as_str(), "checkbox" | "radio");
                let on = !ticked || get("checked").is_some();
                let value = value.unwrap_or_else(|| if ticked { "on" } else { "" }.into());
                self.place(Piece::Field(Field { name, kind, value, on }), owner);
            }
        }
    }

    fn place(&mut self, piece: Piece, owner: Option<String>) {
        if let Some(owner) = owner {
            self.elsewhere.push((owner, piece));
        } else if let Some(form) = &mut self.form {
            match piece {
                Piece::Field(field) => form.fields.push(field),
                Piece::Button(button) => form.buttons.push(button),
            }
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = &self.raw {
            if element == "style" {
                let loaded = loaded_by_style(text).map(|address| ("style".to_owned(), address));
                self.page.addresses.extend(loaded);
            }
            return;
        }
        if let Some((field, _)) = &mut self.textarea {
            field.value.push_str(text);
        }
        for label in [
            self.button.as_mut().map(|(button, _)| &mut button.label),
            self.link.as_mut().map(|link| &mut link.label),
        ]
        .into_iter()
        .flatten()
        {
            label.push_str(text);
        }
        self.page.text.push_str(text);
    }

    fn close(&mut self, name: &str) {
        if self.raw.as_deref() == Some(name) {
            self.raw = None;
        }
        match name {
            "form" => self.page.forms.extend(self.form.take()),
            "button" => {
                if let Some((mut button, owner)) = self.button.take() {
                    button.label = tidy(&button.label);
                    self.place(Piece::Button(button), owner);
                }
            }
            "a" => {
                if let Some(mut link) = self.link.take() {
                    link.label = tidy(&link.label);
                    self.page.links.push(link);
                }
            }
            "select" => {
                if let Some((field, _, owner)) = self.select.take() {
                    self.place(Piece::Field(field), owner);
                }
            }
            "textarea" => {
                if let Some((field, owner)) = self.textarea.take() {
                    self.place(Piece::Field(field), owner);
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Page {
        self.page.forms.extend(self.form.take());
        for (owner, piece) in self.elsewhere {
            let at = self.ids.iter().position(|id| id.as_ref() == Some(&owner));
            let Some(form) = at.and_then(|at| self.page.forms.get_mut(at)) else { continue };
            match piece {
                Piece::Field(field) => form.fields.push(field),
                Piece::Button(button) => form.buttons.push(button),
            }
        }
        self.page.text = tidy(&self.page.text);
        self.page
    }
}

/// The addresses in `url(...)` and `@import "..."`.
fn loaded_by_style(css: &str) -> impl Iterator<Item = String> {
    let urls = css.split("url(").skip(1).filter_map(|rest| rest.split(')').next());
    let imports = css.split("@import").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        rest.starts_with(['"', '\'']).then(|| rest.split(';').next()).flatten()
    });
    urls.chain(imports).map(|text| text.trim().trim_matches(['"', '\'']).to_owned())
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_a_browser_does() {
        let page = Page::parse(
            r#"<!doctype html><title>t</title><script>document.write("<form>")</script>
            <form id=f method=POST action="/a?x=1&amp;y=2">
              <input name=user><input type=PASSWORD name=pass>
              <input type=hidden name=csrf value="a&quot;b">
              <input type=checkbox name=scope value=read checked><input type=checkbox name=scope value=write>
              <input disabled name=gone value=1>
              <select name=lang><option value=en>English<option value=ko selected>Korean</select>
              <textarea name=note>a &lt; b</textarea>
              <button name=decision value=allow>Allow <b>all</b></button>
              <button type=button>Help</button>
            </form>
            <button form=f name=decision value=deny>Deny</button>
            <a href="/abort">[ Cancel ]</a>
            <style>@import url(https://fonts.example/a.css); b { background: url("c.png") }</style>
            <meta http-equiv=Refresh content="0; url='/next'"><img src=x onerror=alert(1)>"#,
        );
        assert_eq!(page.forms.len(), 1);
        let form = page.forms.first().expect("the form");
        assert_eq!((form.method.as_str(), form.action.as_str()), ("post", "/a?x=1&y=2"));
        let fields: Vec<(&str, &str, bool)> =
            form.fields.iter().map(|f| (f.name.as_str(), f.value.as_str(), f.on)).collect();
        assert_eq!(
            fields,
            [
                ("user", "", true),
                ("pass", "", true),
                ("csrf", "a\"b", true),
                ("scope", "read", true),
                ("scope", "write", false),
                ("lang", "ko", true),
                ("note", "a < b", true),
            ]
        );
        let buttons: Vec<(&str, &str)> =
            form.buttons.iter().map(|b| (b.value.as_str(), b.label.as_str())).collect();
        assert_eq!(buttons, [("allow", "Allow all"), ("deny", "Deny")]);
        assert!(form.asks_for_password());
        assert_eq!(page.links, [Link { target: "/abort".into(), label: "[ Cancel ]".into() }]);
        assert_eq!(page.refresh.as_deref(), Some("/next"));
        assert_eq!(page.inline_scripts, 2);
        let styled = page.addresses.iter().filter(|(element, _)| element == "style");
        let styled: Vec<&str> = styled.map(|(_, address)| address.as_str()).collect();
        assert_eq!(styled, ["https://fonts.example/a.css", "c.png"]);
    }

    #[test]
    fn what_is_no_page_has_nothing() {
        for text in ["", "{\"error\": \"x\"}", "<form", "<input name=x>", "\0\u{fffd}<<<>>>"] {
            assert_eq!(Page::parse(text).forms, [], "{text:?}");
        }
    }
}
