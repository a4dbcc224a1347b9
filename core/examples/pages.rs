//! Pages with a theme, words, a language and a template of one's own, checked before anybody sees them.
//!
//! `cargo run -p grantor --example pages > sign-in.html`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example")]

use grantor::pages::{
    Body, CustomPages, DefaultPages, ErrorKind, ErrorPage, Frame, Page, Pages as _,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let error_page = CustomPages::template_source("error.html").ok_or("there is one")?;
    let error_page = format!("{error_page}\n<p>Call 555-0100.</p>");

    let mut pages = DefaultPages::customize()
        .more_style("main { border-top: 4px solid #b3123f }")
        .text("en", "sign_in_title", "Sign in to Example")
        .template("error.html", error_page);
    // A language is whole or it is none. A translator begins with all the texts; here they only shout.
    for (key, text) in CustomPages::texts() {
        pages = pages.text("en-shouted", &key, shouted(&text));
    }
    let pages = pages.build()?;
    eprintln!("languages: {:?}", pages.languages());

    let body = Body::Error(ErrorPage { kind: ErrorKind::Expired, detail: "" });
    let page = Page { frame: Frame { stylesheet: "/style.css", host: "auth.example.com" }, body };
    println!("{}", pages.render(&page, "en-shouted"));

    // What a page needs cannot be forgotten: this one has no password.
    let broken = CustomPages::template_source("sign-in.html").ok_or("there is one")?;
    let broken = broken.replace("name=\"password\"", "name=\"secret\"");
    let refused = DefaultPages::customize().template("sign-in.html", broken).build();
    eprintln!("refused: {}", refused.err().ok_or("it was not")?);
    Ok(())
}

/// In capitals, but for the places that are filled in.
fn shouted(text: &str) -> String {
    let mut inside = false;
    let shout = |letter: char| {
        inside = (inside || letter == '{') && letter != '}';
        if inside { letter } else { letter.to_ascii_uppercase() }
    };
    text.chars().map(shout).collect()
}
