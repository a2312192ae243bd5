//! The picture that a badge may have to its left: one of ours, or one that comes with the request.

use super::colour::Colour;
use crate::pure::base64;
use crate::pure::limits::BADGE_LOGO_BYTES_MAX;

/// A picture, 14 pixels high and wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logo {
    /// Lines in a square of 24 by 24.
    Drawn(&'static str),
    /// `data:image/…;base64,…`
    Brought(String),
}

impl Logo {
    /// One of the names, or an image as a `data:` URL. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let named = DRAWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, path)) = named {
            return Some(Self::Drawn(path));
        }
        // In a query a + that is not encoded has become a space.
        let url = text.replace(' ', "+");
        let (kind, data) = url.strip_prefix("data:image/")?.split_once(";base64,")?;
        let is_image = KINDS.contains(&kind)
            && url.len() <= BADGE_LOGO_BYTES_MAX
            && base64::decode(data).is_some_and(|bytes| !bytes.is_empty());
        is_image.then_some(Self::Brought(url))
    }

    /// The picture with its upper left corner there.
    pub(super) fn put(&self, out: &mut String, (x, y): (u32, u32), colour: Option<Colour>) {
        match self {
            Self::Drawn(path) => {
                let colour = colour.unwrap_or(Colour::WHITE).hex();
                out.push_str(&format!(
                    "<svg x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" viewBox=\"0 0 24 24\">\
                     <path fill=\"{colour}\" d=\"{path}\"/></svg>"
                ));
            }
            // Its letters are those of base64: nothing to escape.
            Self::Brought(url) => out.push_str(&format!(
                "<image x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" href=\"{url}\"/>"
            )),
        }
    }
}

const KINDS: [&str; 5] = ["png", "svg+xml", "gif", "jpeg", "webp"];
/// Drawn for this program.
const DRAWN: [(&str, &str); 4] = [
    // A gate: two posts and a lintel, and the way through.
    ("pullgate", "M2 3h20v4H2zM4 8h4v13H4zM16 8h4v13h-4zM11 8h2v7h3l-4 6-4-6h3z"),
    // Boxes on a hull.
    ("docker", CONTAINERS),
    ("oci", CONTAINERS),
    // A cube.
    (
        "package",
        "M12 1l10 5v12l-10 5-10-5V6zM12 4L6 7l6 3 6-3zM4 9v8l7 3.5v-8zM20 9l-7 3.500v8l7-3.500z",
    ),
];
const CONTAINERS: &str = "M4 9h3v3H4zM8 9h3v3H8zM12 9h3v3h-3zM8 5h3v3H8zM12 5h3v3h-3zM12 1h3v3h-3z\
                          M16 9h3v3h-3zM1 13h22c0 5-4 9-9 9H9c-5 0-8-4-8-9z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_a_name_or_an_image() {
        assert!(matches!(Logo::parse("Docker"), Some(Logo::Drawn(_))));
        let image = "data:image/png;base64,iVBORw0KGgo=";
        assert_eq!(Logo::parse(image), Some(Logo::Brought(image.to_owned())));
        let spaced = Logo::parse("data:image/svg xml;base64,iVB GgoA");
        assert_eq!(spaced, Some(Logo::Brought("data:image/svg+xml;base64,iVB+GgoA".to_owned())));
        for bad in [
            "",
            "unknown",
            "https://example.net/logo.png",
            "data:text/html;base64,iVBORw0KGgo=",
            "data:image/png;base64,\"/><script>",
            "data:image/png;base64,",
        ] {
            assert_eq!(Logo::parse(bad), None, "{bad}");
        }
        let long = format!("data:image/png;base64,{}", "AAAA".repeat(BADGE_LOGO_BYTES_MAX / 4));
        assert_eq!(Logo::parse(&long), None);
    }
}
