//! The results as a picture: requests per second at 32 connections, and of one core's time what each of them took.

use crate::contest::MANY;
use crate::requests::Request;
use crate::results::Results;

const COLOURS: [&str; 8] =
    ["#8a8f98", "#1f5fbf", "#d98032", "#3f9b5b", "#5b8fdc", "#93b8ee", "#8d5aa8", "#c39ad6"];
const LEFT: f64 = 220.0;
const WIDTH: f64 = 620.0;
const BAR: f64 = 14.0;

/// An SVG document.
pub(crate) fn draw(results: &Results) -> String {
    let contenders = results.contenders();
    let all = Request::ALL.into_iter().flat_map(|request| {
        contenders.iter().filter_map(move |who| results.median(who, request, MANY))
    });
    let most = all.map(|median| median.per_second).fold(1.0, f64::max);
    let mut y = 30.0;
    let mut body = format!(
        "<text x=\"10\" y=\"18\" font-weight=\"bold\">Requests per second, {MANY} connections, one core for the server; \
         in brackets its CPU time a request</text>\n"
    );
    for request in Request::ALL {
        y += 22.0;
        body.push_str(&format!(
            "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{}</text>\n",
            request.name()
        ));
        y += 6.0;
        for (who, colour) in contenders.iter().zip(COLOURS.iter().cycle()) {
            let text = y + BAR - 3.0;
            body.push_str(&format!(
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{who}</text>\n",
                LEFT - 6.0
            ));
            let (long, label) = match results.median(who, request, MANY) {
                None => (0.0, "-".to_owned()),
                Some(median) => (
                    WIDTH * median.per_second / most,
                    format!("{:.0} ({:.1} us)", median.per_second, median.cpu),
                ),
            };
            let height = BAR - 2.0;
            body.push_str(&format!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{long:.1}\" height=\"{height}\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{text}\">{label}</text>\n",
                LEFT + long + 6.0
            ));
            y += BAR;
        }
    }
    let (width, height) = (LEFT + WIDTH + 130.0, y + 12.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}
