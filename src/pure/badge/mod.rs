//! Badges: two words in a small picture for a README, in the shapes that people know.

pub mod colour;
pub mod figures;
pub mod logo;
pub mod metric;

use serde_json::json;

use crate::pure::limits::BADGE_WORDS_MAX;
use crate::pure::markup::{put_text, text};
use colour::Colour;
use logo::Logo;
use metric::{Cut, width};

/// A badge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// What stands to the left.
    pub label: String,
    /// What stands to the right.
    pub message: String,
    /// How it looks.
    pub look: Look,
}

/// How a badge looks: what its query may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The shape.
    pub style: Style,
    /// The colour to the right; blue where it is not said.
    pub colour: Option<Colour>,
    /// The colour to the left; grey where it is not said.
    pub label_colour: Option<Colour>,
    /// The picture before the label.
    pub logo: Option<Logo>,
    /// Its colour, of one that we have drawn.
    pub logo_colour: Option<Colour>,
    /// Other words to the left.
    pub label: Option<String>,
}

/// A shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Round corners and a breath of light.
    #[default]
    Flat,
    /// Neither.
    FlatSquare,
    /// More light.
    Plastic,
    /// Large, in capitals.
    ForTheBadge,
    /// Words on white, the number in a bubble.
    Social,
}

impl Look {
    /// Takes one pair of a query. What is not understood is left as it was, as everywhere where badges
    /// are made: a picture in a README is no place for an error.
    pub fn take(&mut self, key: &str, value: &str) {
        match key {
            "style" => {
                let named = STYLES.iter().find(|(name, _)| *name == value);
                self.style = named.map_or(self.style, |(_, style)| *style);
            }
            "color" | "colorB" => self.colour = Colour::parse(value).or(self.colour),
            "label-color" | "labelColor" | "colorA" => {
                self.label_colour = Colour::parse(value).or(self.label_colour);
            }
            "logo" => self.logo = Logo::parse(value).or_else(|| self.logo.take()),
            "logo-color" | "logoColor" => {
                self.logo_colour = Colour::parse(value).or(self.logo_colour);
            }
            "label" => self.label = Some(value.chars().take(BADGE_WORDS_MAX).collect()),
            _ => {}
        }
    }
}

impl Badge {
    /// The badge as SVG.
    pub fn svg(&self) -> String {
        match self.look.style {
            Style::Flat | Style::FlatSquare | Style::Plastic => self.small(),
            Style::ForTheBadge => self.large(),
            Style::Social => self.social(),
        }
    }

    /// What shields.io draws a badge from: <https://shields.io/badges/endpoint-badge>.
    pub fn endpoint(&self) -> String {
        let colour = self.look.colour.unwrap_or(Colour::BLUE).hex();
        let (label, message) = (self.label(), &self.message);
        json!({ "schemaVersion": 1, "label": label, "message": message, "color": colour })
            .to_string()
    }

    fn label(&self) -> &str {
        self.look.label.as_deref().unwrap_or(&self.label)
    }

    fn colours(&self) -> (Colour, Colour) {
        let Look { colour, label_colour, .. } = self.look;
        (label_colour.unwrap_or(Colour::GREY), colour.unwrap_or(Colour::BLUE))
    }

    /// 20 pixels high (18 of plastic), in letters of 11.
    fn small(&self) -> String {
        let style = self.look.style;
        let (height, corner) = match style {
            Style::Plastic => (18, 4),
            Style::FlatSquare => (20, 0),
            Style::Flat | Style::ForTheBadge | Style::Social => (20, 3),
        };
        let words = [self.label(), self.message.as_str()];
        let tenths = words.map(|words| odd(width(words, Cut::Regular, 11)));
        let logo = if self.look.logo.is_some() { 14 + 3 } else { 0 };
        let left = match (words[0].is_empty(), logo) {
            (true, 0) => 0,
            (true, logo) => logo + 7,
            (false, logo) => tenths[0] / 10 + logo + 10,
        };
        let (right, colours) = (tenths[1] / 10 + 10, self.colours());
        let total = left + right;
        let mut out = self.begin(total, height);
        if style != Style::FlatSquare {
            out.push_str(light(style));
            out.push_str(&format!(
                "<clipPath id=\"r\"><rect width=\"{total}\" height=\"{height}\" rx=\"{corner}\" \
                 fill=\"#fff\"/></clipPath>"
            ));
        }
        let clip = if style == Style::FlatSquare { CRISP } else { " clip-path=\"url(#r)\"" };
        out.push_str(&format!(
            "<g{clip}><rect width=\"{left}\" height=\"{height}\" fill=\"{}\"/>\
             <rect x=\"{left}\" width=\"{right}\" height=\"{height}\" fill=\"{}\"/>",
            colours.0.hex(),
            colours.1.hex()
        ));
        if style != Style::FlatSquare {
            out.push_str(&format!(
                "<rect width=\"{total}\" height=\"{height}\" fill=\"url(#s)\"/>"
            ));
        }
        out.push_str(&format!(
            "</g><g text-anchor=\"middle\" font-family=\"{FAMILY}\" \
             text-rendering=\"geometricPrecision\" font-size=\"110\">"
        ));
        self.put_logo(&mut out, (5, (height - 14) / 2));
        let baseline = if style == Style::Plastic { 130 } else { 140 };
        // The middles of both words, in tenths.
        let middles = [(logo + 6) * 10 + tenths[0] / 2, left * 10 + right * 5 - 10];
        for (at, words) in words.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
            let colour = if at == 0 { colours.0 } else { colours.1 };
            let (ink, shade) = inks(colour);
            let (x, length) = (middles[at], tenths[at]);
            if style != Style::FlatSquare {
                out.push_str(&format!(
                    "<text aria-hidden=\"true\" x=\"{x}\" y=\"{}\" fill=\"{shade}\" \
                     fill-opacity=\".3\" transform=\"scale(.1)\" textLength=\"{length}\">",
                    baseline + 10
                ));
                put_text(&mut out, words);
                out.push_str("</text>");
            }
            out.push_str(&format!(
                "<text x=\"{x}\" y=\"{baseline}\" transform=\"scale(.1)\" fill=\"{ink}\" \
                 textLength=\"{length}\">"
            ));
            put_text(&mut out, words);
            out.push_str("</text>");
        }
        out.push_str("</g></svg>");
        out
    }

    /// 28 pixels high, in capitals of 10 with 1.25 between them.
    fn large(&self) -> String {
        let words = [self.label().to_uppercase(), self.message.to_uppercase()];
        let length = |words: &str, cut| {
            let letters = u32::try_from(words.chars().count()).unwrap_or_default();
            width(words, cut, 10) + letters * 25 / 2
        };
        let tenths = [length(&words[0], Cut::Regular), length(&words[1], Cut::Bold)];
        let logo = if self.look.logo.is_some() { 14 + 5 } else { 0 };
        let left = match (words[0].is_empty(), logo) {
            (true, 0) => 0,
            (true, logo) => logo + 13,
            (false, logo) => tenths[0].div_ceil(10) + logo + 18,
        };
        let right = tenths[1].div_ceil(10) + 24;
        let (total, colours) = (left + right, self.colours());
        let mut out = self.begin(total, 28);
        out.push_str(&format!(
            "<g{CRISP}><rect width=\"{left}\" height=\"28\" fill=\"{}\"/>\
             <rect x=\"{left}\" width=\"{right}\" height=\"28\" fill=\"{}\"/></g>\
             <g text-anchor=\"middle\" font-family=\"{FAMILY}\" \
             text-rendering=\"geometricPrecision\" font-size=\"100\">",
            colours.0.hex(),
            colours.1.hex()
        ));
        self.put_logo(&mut out, (9, 7));
        let middles = [(logo + 9) * 10 + tenths[0] / 2, left * 10 + right * 5];
        for (at, words) in words.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
            let colour = if at == 0 { colours.0 } else { colours.1 };
            let weight = if at == 0 { "" } else { " font-weight=\"bold\"" };
            out.push_str(&format!(
                "<text x=\"{}\" y=\"175\" transform=\"scale(.1)\" fill=\"{}\"{weight} \
                 textLength=\"{}\">",
                middles[at],
                inks(colour).0,
                tenths[at]
            ));
            put_text(&mut out, words);
            out.push_str("</text>");
        }
        out.push_str("</g></svg>");
        out
    }

    /// 20 pixels high, in bold letters of 11, on white whatever colours are asked for.
    fn social(&self) -> String {
        let mut label = self.label().chars();
        let label: String =
            label.next().iter().flat_map(|it| it.to_uppercase()).chain(label).collect();
        let words = [label.as_str(), self.message.as_str()];
        let tenths = words.map(|words| odd(width(words, Cut::Bold, 11)));
        let logo = if self.look.logo.is_some() { 14 + 3 } else { 0 };
        let (left, right) = (tenths[0] / 10 + logo + 10, tenths[1] / 10 + 8);
        let bubble = left + BUBBLE_GAP;
        let mut out = self.begin(bubble + right + 1, 20);
        out.push_str(&format!(
            "<linearGradient id=\"s\" x2=\"0\" y2=\"100%\"><stop offset=\"0\" stop-color=\"#fcfcfc\" \
             stop-opacity=\"0\"/><stop offset=\"1\" stop-opacity=\".1\"/></linearGradient>\
             <g stroke=\"#d5d5d5\"><rect x=\".5\" y=\".5\" width=\"{left}\" height=\"19\" rx=\"2\" \
             fill=\"#fcfcfc\"/><rect x=\".5\" y=\".5\" width=\"{left}\" height=\"19\" rx=\"2\" \
             fill=\"url(#s)\"/><rect x=\"{bubble}.5\" y=\".5\" width=\"{right}\" height=\"19\" rx=\"2\" \
             fill=\"#fafafa\"/><path d=\"M{bubble}.5 6.5l-3 3v1l3 3\" fill=\"#fafafa\"/></g>\
             <g fill=\"#333\" text-anchor=\"middle\" font-family=\"{FAMILY}\" font-weight=\"bold\" \
             text-rendering=\"geometricPrecision\" font-size=\"110\">"
        ));
        self.put_logo(&mut out, (5, 3));
        let middles = [(logo + 5) * 10 + tenths[0] / 2, bubble * 10 + right * 5 + 5];
        for (at, words) in words.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
            let (x, length) = (middles[at], tenths[at]);
            out.push_str(&format!(
                "<text x=\"{x}\" y=\"140\" transform=\"scale(.1)\" textLength=\"{length}\">"
            ));
            put_text(&mut out, words);
            out.push_str("</text>");
        }
        out.push_str("</g></svg>");
        out
    }

    fn begin(&self, width: u32, height: u32) -> String {
        let told = text(&match self.label() {
            "" => self.message.clone(),
            label => format!("{label}: {}", self.message),
        });
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{told}\"><title>{told}</title>"
        )
    }

    fn put_logo(&self, out: &mut String, at: (u32, u32)) {
        if let Some(logo) = &self.look.logo {
            logo.put(out, at, self.look.logo_colour);
        }
    }
}

/// Text, and the shade below it.
fn inks(colour: Colour) -> (&'static str, &'static str) {
    if colour.is_bright() { ("#333", "#ccc") } else { ("#fff", "#010101") }
}

/// Whole pixels, and an odd number of them, so that a middle lies on one; in tenths.
fn odd(tenths: u32) -> u32 {
    match tenths / 10 {
        0 => 0,
        pixels => (pixels | 1) * 10,
    }
}

fn light(style: Style) -> &'static str {
    match style {
        Style::Plastic => {
            "<linearGradient id=\"s\" x2=\"0\" y2=\"100%\"><stop offset=\"0\" stop-color=\"#fff\" \
             stop-opacity=\".7\"/><stop offset=\".1\" stop-color=\"#aaa\" stop-opacity=\".1\"/>\
             <stop offset=\".9\" stop-color=\"#000\" stop-opacity=\".3\"/><stop offset=\"1\" \
             stop-color=\"#000\" stop-opacity=\".5\"/></linearGradient>"
        }
        Style::Flat | Style::FlatSquare | Style::ForTheBadge | Style::Social => {
            "<linearGradient id=\"s\" x2=\"0\" y2=\"100%\"><stop offset=\"0\" stop-color=\"#bbb\" \
             stop-opacity=\".1\"/><stop offset=\"1\" stop-opacity=\".1\"/></linearGradient>"
        }
    }
}

const STYLES: [(&str, Style); 5] = [
    ("flat", Style::Flat),
    ("flat-square", Style::FlatSquare),
    ("plastic", Style::Plastic),
    ("for-the-badge", Style::ForTheBadge),
    ("social", Style::Social),
];
/// Between the words and the bubble.
const BUBBLE_GAP: u32 = 6;
const CRISP: &str = " shape-rendering=\"crispEdges\"";
const FAMILY: &str = "Verdana,Geneva,DejaVu Sans,sans-serif";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::markup::tests::well_formed;
    use proptest::prelude::*;

    fn badge(message: &str, query: &[(&str, &str)]) -> Badge {
        let mut look = Look::default();
        query.iter().for_each(|(key, value)| look.take(key, value));
        Badge { label: "pulls".to_owned(), message: message.to_owned(), look }
    }

    #[test]
    fn a_flat_badge_has_the_measures_that_people_know() {
        // Those of the badge that stands in most READMEs.
        let svg = badge("passing", &[("label", "build"), ("color", "brightgreen")]).svg();
        assert_eq!(well_formed(&svg), Ok(()));
        for part in [
            "width=\"88\" height=\"20\" role=\"img\" aria-label=\"build: passing\">",
            "<rect width=\"37\" height=\"20\" fill=\"#555555\"/>",
            "<rect x=\"37\" width=\"51\" height=\"20\" fill=\"#44cc11\"/>",
            "rx=\"3\"",
            "x=\"195\" y=\"140\" transform=\"scale(.1)\" fill=\"#fff\" textLength=\"270\">build<",
            "textLength=\"410\">passing</text>",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
    }

    #[test]
    fn the_query_says_how_it_looks() {
        let look = [("style", "for-the-badge"), ("color", "ff0"), ("label-color", "red")];
        let svg = badge("12k", &look).svg();
        assert!(svg.contains("height=\"28\"") && svg.contains(">PULLS</text>"), "{svg}");
        assert!(svg.contains("fill=\"#ffff00\"") && svg.contains("fill=\"#e05d44\""), "{svg}");
        assert!(svg.contains("fill=\"#333\" font-weight"), "dark words on a bright ground: {svg}");
        assert!(badge("1", &[("logo", "docker")]).svg().contains("viewBox=\"0 0 24 24\""));
        assert!(!badge("1", &[("style", "flat-square")]).svg().contains("clipPath"));
        assert!(badge("1", &[("style", "plastic")]).svg().contains("height=\"18\""));
        let social = badge("12k", &[("style", "social"), ("logo", "docker")]).svg();
        assert!(social.contains(">Pulls</text>") && social.contains("l-3 3v1l3 3"), "{social}");
        let nonsense = [("style", "x"), ("color", "no colour"), ("logo", "nobody"), ("other", "1")];
        assert_eq!(badge("1", &nonsense), badge("1", &[]));
        assert!(badge("1", &[("label", "")]).svg().contains("<rect width=\"0\""));
    }

    #[test]
    fn shields_draws_the_same() {
        assert_eq!(
            badge("12k", &[("color", "red")]).endpoint(),
            r##"{"color":"#e05d44","label":"pulls","message":"12k","schemaVersion":1}"##
        );
    }

    proptest! {
        /// Whatever is asked, and whatever a tag or a query says, nothing but a badge comes of it.
        #[test]
        fn any_words_make_a_well_formed_badge(
            message in any::<String>(),
            query in prop::collection::vec(
                (
                    prop::sample::select(vec![
                        "style", "color", "label-color", "logo", "logo-color", "label",
                    ]),
                    prop_oneof![
                        any::<String>(),
                        prop::sample::select(vec![
                            "flat", "flat-square", "plastic", "for-the-badge", "social", "docker",
                            "fff",
                            "data:image/png;base64,iVBORw0KGgo=", "\"/><script>alert(1)</script>",
                        ]).prop_map(str::to_owned),
                    ],
                ),
                0..5,
            ),
        ) {
            let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let badge = badge(&message, &query);
            let svg = badge.svg();
            prop_assert_eq!(well_formed(&svg), Ok(()));
            prop_assert!(!svg.contains("<script"));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&badge.endpoint()).is_ok());
        }
    }
}
