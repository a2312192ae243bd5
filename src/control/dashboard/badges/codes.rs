//! How a badge is put into a README.

use crate::pure::badge::figures::About;
use crate::pure::markup::text;

/// One badge, and what to copy.
pub(in crate::control::dashboard) struct Code {
    /// `pulls`
    pub(in crate::control::dashboard) word: &'static str,
    /// What it says, for who does not see it.
    pub(in crate::control::dashboard) told: &'static str,
    /// Where the picture is, on this host.
    pub(in crate::control::dashboard) path: String,
    /// Each language with its words.
    pub(in crate::control::dashboard) texts: [(&'static str, String); 4],
}

/// All badges of a package, each with its identifier, on a gateway whose pages are below `origin`.
pub(in crate::control::dashboard) fn codes(
    origin: &str,
    id: impl Fn(About) -> String,
) -> Vec<Code> {
    let code = |about: About| {
        let told = match about {
            About::Pulls => "pulls",
            About::LatestMonth => "pulls of the last 30 days",
            About::Companies => "companies of the last month",
            About::Version => "the version that is pulled most",
        };
        let path = format!("/badges/{}/{}.svg", id(about), about.word());
        let url = format!("{origin}{path}");
        let quoted = text(&url);
        let texts = [
            ("Markdown", format!("![{told}]({url})")),
            ("HTML", format!("<img alt=\"{told}\" src=\"{quoted}\">")),
            ("reStructuredText", format!(".. image:: {url}\n   :alt: {told}")),
            ("AsciiDoc", format!("image:{url}[{told}]")),
        ];
        Code { word: about.word(), told, path, texts }
    };
    About::EVERY.into_iter().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_the_whole_address() {
        let codes = codes("https://counts.acme.com", |_| "0a1b".to_owned());
        assert_eq!(codes.len(), 4);
        let texts = codes[0].texts.each_ref().map(|(_, text)| text.as_str());
        assert_eq!(
            texts,
            [
                "![pulls](https://counts.acme.com/badges/0a1b/pulls.svg)",
                "<img alt=\"pulls\" src=\"https://counts.acme.com/badges/0a1b/pulls.svg\">",
                ".. image:: https://counts.acme.com/badges/0a1b/pulls.svg\n   :alt: pulls",
                "image:https://counts.acme.com/badges/0a1b/pulls.svg[pulls]",
            ]
        );
    }
}
