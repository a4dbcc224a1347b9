//! The results as a picture: requests per second at 32 connections, and of one core's time what each of them took.

use crate::contest::{BARE, MANY, MEMORY, NODE_REDIS, REDIS, SLED};
use crate::results::Results;
use crate::targets::{reference, target};
use grantor_bench::requests::Request;

const LEFT: f64 = 200.0;
const WIDTH: f64 = 620.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 64.0;
/// From one bar to the next, and how high one is.
const STEP: f64 = 15.0;
const BAR: f64 = 11.0;

fn colour(contender: &str) -> &'static str {
    match contender {
        BARE => "#9aa0a8",
        MEMORY | SLED | REDIS => "#1f5fbf",
        "oxide-auth, memory" => "#d98032",
        "oauth-as, memory" => "#3f9b5b",
        _ => "#8d5aa8",
    }
}

/// 1234567 as "1 234 567", with thin spaces.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Where the requests per second of a target are, if there is one and what it compares with was measured.
fn goal(results: &Results, contender: &str, request: Request) -> Option<f64> {
    let (than, asked) = reference(contender, request);
    Some(target(contender, request)? * results.median(than, asked, MANY)?.per_second)
}

/// An SVG document.
pub(crate) fn draw(results: &Results) -> String {
    let contenders = results.contenders();
    let requests: Vec<Request> =
        Request::ALL.into_iter().filter(|&request| results.has(request)).collect();
    let mut most = 1.0_f64;
    for (&request, &who) in
        requests.iter().flat_map(|one| contenders.iter().map(move |who| (one, who)))
    {
        let measured = results.median(who, request, MANY).map(|median| median.per_second);
        most = most.max(measured.unwrap_or_default());
        most = most.max(goal(results, who, request).unwrap_or_default());
    }
    let scale = |value: f64| WIDTH * value / most;
    let mut y = TOP;
    let mut body = String::new();
    for &request in &requests {
        y += 24.0;
        body.push_str(&format!(
            "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>\n",
            y - 6.0,
            request.name()
        ));
        for who in &contenders {
            let text = y + BAR - 2.0;
            body.push_str(&format!(
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{who}</text>\n",
                LEFT - 8.0
            ));
            let goal = goal(results, who, request).map(scale);
            let (long, label) = match results.median(who, request, MANY) {
                None if results.failed(who, request, MANY) => (0.0, "failed".to_owned()),
                None => (0.0, "not offered".to_owned()),
                Some(median) => (
                    scale(median.per_second),
                    format!("{} ({} us)", grouped(median.per_second), grouped_cpu(median.cpu)),
                ),
            };
            body.push_str(&format!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{long:.1}\" height=\"{BAR}\" fill=\"{}\"/>\n\
                 <text x=\"{:.1}\" y=\"{text}\" fill=\"#333\">{label}</text>\n",
                colour(who),
                LEFT + long.max(goal.unwrap_or_default()) + 7.0
            ));
            if let Some(goal) = goal {
                body.push_str(&format!(
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"{}\" fill=\"#c0262d\"/>\n",
                    LEFT + goal - 1.0,
                    y - 1.5,
                    BAR + 3.0
                ));
            }
            y += STEP;
        }
    }
    let (width, height) = (LEFT + WIDTH + RIGHT, y + 16.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"13\" font-weight=\"bold\">Requests per second, {MANY} connections, one core \
         for the server</text>\n\
         <text x=\"12\" y=\"38\" fill=\"#333\">In brackets: processor time of the server for one request. \
         Red: the target, a share of bare axum or, on Redis, a multiple of {NODE_REDIS}.</text>\n{}{body}</svg>\n",
        grid(most, y)
    )
}

/// Vertical lines at round numbers.
fn grid(most: f64, bottom: f64) -> String {
    let rough = most / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let mut lines = String::new();
    let mut value = 0.0;
    while value <= most {
        let x = LEFT + WIDTH * value / most;
        lines.push_str(&format!(
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e4e6ea\"/>\n\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777\">{}</text>\n",
            TOP - 6.0,
            grouped(value)
        ));
        value += step;
    }
    lines
}

/// Microseconds: a decimal where it says something.
fn grouped_cpu(value: f64) -> String {
    if value < 1000.0 { format!("{value:.1}") } else { grouped(value) }
}
