//! What an image is for: operating system and architecture, as an index tells them of its members
//! (OCI image specification, "Image Index"). One byte each, so that they travel beside what a
//! manifest lists.

/// A platform, or that none is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(pub u8);

impl Platform {
    /// Not known.
    pub const NONE: Self = Self(0);
    /// One that is not told apart.
    pub const OTHER: Self = Self(1);

    /// Which one these words say. Attestations say `unknown`.
    pub fn of(os: &str, architecture: &str, variant: &str) -> Self {
        if os.is_empty() || os == "unknown" {
            return Self::NONE;
        }
        // What every program does that compares them: `arm64` has one variant.
        let variant = if architecture == "arm64" && variant == "v8" { "" } else { variant };
        let is_it = |text: &&str| {
            let mut words = text.split('/');
            let said = [os, architecture, variant].into_iter().filter(|word| !word.is_empty());
            said.into_iter().all(|word| words.next() == Some(word)) && words.next().is_none()
        };
        match NAMES.iter().position(is_it).and_then(|at| u8::try_from(at + FIRST).ok()) {
            Some(number) => Self(number),
            None => Self::OTHER,
        }
    }

    /// `linux/arm64`; empty where it is not known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NONE => "",
            Self(number) => usize::from(number)
                .checked_sub(FIRST)
                .and_then(|at| NAMES.get(at).copied())
                .unwrap_or("(other)"),
        }
    }

    /// Operating system and architecture, without a variant, as user agents tell them.
    pub fn system(self) -> Option<(&'static str, &'static str)> {
        let (os, rest) = self.as_str().split_once('/')?;
        Some((os, rest.split_once('/').map_or(rest, |(arch, _)| arch)))
    }
}

const FIRST: usize = 2;
/// What official images and those of the larger projects are made for.
const NAMES: [&str; 24] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/arm/v5",
    "linux/arm",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/mips64le",
    "linux/mips64",
    "linux/loong64",
    "linux/amd64/v2",
    "linux/amd64/v3",
    "windows/amd64",
    "windows/arm64",
    "darwin/amd64",
    "darwin/arm64",
    "freebsd/amd64",
    "freebsd/arm64",
    "wasip1/wasm",
    "wasi/wasm",
    "js/wasm",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_told_by_its_words() {
        for (os, architecture, variant, expected) in [
            ("linux", "amd64", "", "linux/amd64"),
            ("linux", "arm64", "v8", "linux/arm64"),
            ("linux", "arm", "v7", "linux/arm/v7"),
            ("linux", "arm", "", "linux/arm"),
            ("linux", "arm", "v9", "(other)"),
            ("plan9", "amd64", "", "(other)"),
            ("linux", "", "", "(other)"),
            ("unknown", "unknown", "", ""),
            ("", "amd64", "", ""),
        ] {
            assert_eq!(Platform::of(os, architecture, variant).as_str(), expected, "{os}");
        }
        assert_eq!(Platform(255).as_str(), "(other)");
        for (os, architecture, variant, expected) in [
            ("linux", "arm", "v7", Some(("linux", "arm"))),
            ("windows", "amd64", "", Some(("windows", "amd64"))),
            ("plan9", "amd64", "", None),
            ("unknown", "", "", None),
        ] {
            assert_eq!(Platform::of(os, architecture, variant).system(), expected, "{os}");
        }
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(usize::from(Platform(u8::try_from(at + FIRST).unwrap()).0), at + FIRST);
            assert_eq!(Platform(u8::try_from(at + FIRST).unwrap()).as_str(), *name);
        }
    }
}
