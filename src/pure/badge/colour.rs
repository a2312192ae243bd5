//! The colours of badges, by the names that people know them by.

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

impl Colour {
    /// The blue of a badge that only informs.
    pub const BLUE: Self = Self::of(0x00_7e_c6);
    /// The grey to the left.
    pub const GREY: Self = Self::of(0x55_55_55);
    /// The grey of what is not known.
    pub const LIGHT_GREY: Self = Self::of(0x9f_9f_9f);
    /// White.
    pub const WHITE: Self = Self::of(0xff_ff_ff);

    /// `0xrrggbb`
    const fn of(rgb: u32) -> Self {
        let [_, red, green, blue] = rgb.to_be_bytes();
        Self { red, green, blue }
    }

    /// A name, or three or six hexadecimal digits, with or without a `#`. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let named = NAMED.iter().find(|(name, _)| *name == text);
        if let Some((_, rgb)) = named {
            return Some(Self::of(*rgb));
        }
        let digits = text.strip_prefix('#').unwrap_or(&text);
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let six = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            6 => digits.to_owned(),
            _ => return None,
        };
        u32::from_str_radix(&six, 16).ok().filter(|_| is_hex).map(Self::of)
    }

    /// `#rrggbb`
    pub fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }

    /// Whether dark text is read better on it (W3C, Techniques for Accessibility Evaluation, 2.2).
    pub fn is_bright(self) -> bool {
        let [red, green, blue] = [self.red, self.green, self.blue].map(u32::from);
        red * 299 + green * 587 + blue * 114 > 176_000
    }
}

const NAMED: [(&str, u32); 44] = [
    ("brightgreen", 0x44_cc_11),
    ("green", 0x97_ca_00),
    ("yellow", 0xdf_b3_17),
    ("yellowgreen", 0xa4_a6_1d),
    ("orange", 0xfe_7d_37),
    ("red", 0xe0_5d_44),
    ("blue", 0x00_7e_c6),
    ("grey", 0x55_55_55),
    ("gray", 0x55_55_55),
    ("lightgrey", 0x9f_9f_9f),
    ("lightgray", 0x9f_9f_9f),
    ("success", 0x44_cc_11),
    ("important", 0xfe_7d_37),
    ("critical", 0xe0_5d_44),
    ("informational", 0x00_7e_c6),
    ("inactive", 0x9f_9f_9f),
    ("blueviolet", 0x8a_2b_e2),
    ("black", 0x00_00_00),
    ("white", 0xff_ff_ff),
    ("silver", 0xc0_c0_c0),
    ("maroon", 0x80_00_00),
    ("olive", 0x80_80_00),
    ("lime", 0x00_ff_00),
    ("teal", 0x00_80_80),
    ("aqua", 0x00_ff_ff),
    ("cyan", 0x00_ff_ff),
    ("navy", 0x00_00_80),
    ("purple", 0x80_00_80),
    ("fuchsia", 0xff_00_ff),
    ("magenta", 0xff_00_ff),
    ("pink", 0xff_c0_cb),
    ("gold", 0xff_d7_00),
    ("indigo", 0x4b_00_82),
    ("violet", 0xee_82_ee),
    ("crimson", 0xdc_14_3c),
    ("coral", 0xff_7f_50),
    ("tomato", 0xff_63_47),
    ("salmon", 0xfa_80_72),
    ("brown", 0xa5_2a_2a),
    ("turquoise", 0x40_e0_d0),
    ("orchid", 0xda_70_d6),
    ("slateblue", 0x6a_5a_cd),
    ("steelblue", 0x46_82_b4),
    ("darkgreen", 0x00_64_00),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_names_or_digits() {
        for (text, expected) in [
            ("blue", Some("#007ec6")),
            (" BrightGreen", Some("#44cc11")),
            ("#abc", Some("#aabbcc")),
            ("0A0b0c", Some("#0a0b0c")),
            ("", None),
            ("12", None),
            ("+12345", None),
            ("red\"/><script>", None),
            ("rgb(1,2,3)", None),
            ("äbcde", None),
        ] {
            assert_eq!(Colour::parse(text).map(Colour::hex), expected.map(str::to_owned), "{text}");
        }
        assert!(Colour::parse("white").is_some_and(Colour::is_bright));
        assert!(!Colour::BLUE.is_bright());
    }
}
