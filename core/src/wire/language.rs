//! In which language a page is rendered.

use http::{HeaderMap, header};

/// The best language out of `offered` (never empty) for a user: what the client asked for in
/// `ui_locales`, then what the browser accepts (RFC 9110 section 12.5.4), then the first.
pub(super) fn negotiate<'a>(
    offered: &[&'a str],
    ui_locales: Option<&str>,
    headers: &HeaderMap,
) -> &'a str {
    let find = |tag: &str| {
        let primary = tag.split('-').next().unwrap_or(tag);
        offered
            .iter()
            .find(|known| known.eq_ignore_ascii_case(tag))
            .or_else(|| offered.iter().find(|known| known.eq_ignore_ascii_case(primary)))
    };
    if let Some(found) = ui_locales.into_iter().flat_map(|tags| tags.split(' ')).find_map(find) {
        return found;
    }
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    // The quality in thousandths; equal ones keep the order of the header.
    let mut wanted: Vec<(u32, &str)> = accepted
        .unwrap_or_default()
        .split(',')
        .take(32)
        .map(|range| {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, ""));
            let quality = parameter.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok());
            ((quality.unwrap_or(0.0_f32).clamp(0.0, 1.0) * 1000.0) as u32, tag.trim())
        })
        .filter(|(quality, _)| *quality > 0)
        .collect();
    wanted.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    let found = wanted.into_iter().find_map(|(_, tag)| find(tag));
    found.or(offered.first()).copied().unwrap_or("en")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_then_the_browser_then_the_default() {
        let with = |accept: &'static str| {
            HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(accept))])
        };
        let pick = |ui: Option<&str>, accept| negotiate(&["en", "ko"], ui, &with(accept));
        assert_eq!(pick(Some("fr ko-KR en"), "en"), "ko");
        assert_eq!(pick(None, "ko-KR,ko;q=0.9,en;q=0.8"), "ko");
        assert_eq!(pick(None, "en;q=0.1, ko;q=0.5"), "ko");
        assert_eq!(pick(None, "ko;q=0, en"), "en");
        assert_eq!(pick(None, "fr, de"), "en");
        assert_eq!(pick(Some("xx"), "ko;q=nan"), "en");
        assert_eq!(negotiate(&["en", "ko"], None, &HeaderMap::new()), "en");
    }
}
