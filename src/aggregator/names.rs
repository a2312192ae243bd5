//! Which packages and rows are counted apart. Clients choose what they ask for and what they say
//! they are: so many of each are told apart, the rest is counted together. Totals are exact.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregator::clients::OTHER;
use crate::aggregator::known::Known;
use crate::aggregator::schema::PackageRecord;
use crate::pure::limits::{CROSSED_ROWS_MAX, PLACE_ROWS_MAX, ROWS_MAX};
use crate::pure::pull::rollup::Dimension;
use crate::pure::pull::window::TagRow;

/// How much is told apart.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Names per collection rule.
    pub max_names: usize,
    /// Tags per package.
    pub max_tags: usize,
    /// Rows per package and any other dimension.
    pub max_clients: usize,
}

impl Bounds {
    /// Where nobody outside chooses what there is.
    pub const NONE: Self =
        Self { max_names: usize::MAX, max_tags: usize::MAX, max_clients: usize::MAX };

    fn none() -> Self {
        Self::NONE
    }
}

/// What an event says about its package.
#[derive(Clone, Copy, Debug)]
pub struct PackageTexts<'a> {
    /// The configured id, or empty.
    pub id: &'a [u8],
    /// The rule's domain.
    pub domain: &'a [u8],
    /// The collection rule's name, or empty.
    pub collection: &'a [u8],
    /// The name that was asked for.
    pub name: &'a [u8],
}

/// Everything that is told apart, with its numbers in memory.
#[derive(Serialize, Deserialize)]
pub struct Names {
    #[serde(skip, default = "Bounds::none")]
    bounds: Bounds,
    by_identity: Known,
    packages: Vec<PackageRecord>,
    names_per_collection: HashMap<String, usize>,
    rows: Known,
    /// By number, from [`TagRow::FIRST`]. A number that was forgotten is not given again.
    row_texts: Vec<Arc<str>>,
    /// Whose they are; `None` once forgotten.
    row_owners: Vec<Option<(u32, Dimension)>>,
    rows_per_package: HashMap<(u32, Dimension), usize>,
    #[serde(skip, default = "fixed")]
    fixed: [Arc<str>; TagRow::FIRST as usize],
    #[serde(skip)]
    identity: Vec<u8>,
    /// Requests that found no room for their name; rows that found none.
    #[serde(skip)]
    pub beyond: Beyond,
}

/// How often something was beyond its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Requests for a name.
    pub names: u64,
    /// Requests for a tag.
    pub tags: u64,
    /// Cells of a client or its system.
    pub clients: u64,
    /// Cells of a place, or of a pair.
    pub places: u64,
}

impl Names {
    /// Nothing is known yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            by_identity: Known::default(),
            packages: Vec::new(),
            names_per_collection: HashMap::new(),
            rows: Known::default(),
            row_texts: Vec::new(),
            row_owners: Vec::new(),
            rows_per_package: HashMap::new(),
            fixed: fixed(),
            identity: Vec::new(),
            beyond: Beyond::default(),
        }
    }

    /// Changes how much is told apart from now on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The package's number. Allocates nothing for a package that is known.
    pub fn package(&mut self, texts: PackageTexts<'_>) -> u32 {
        texts.identity_to(&mut self.identity);
        let print = self.by_identity.print(0, &self.identity);
        let Some(number) = self.by_identity.get(print) else {
            return self.add_package(texts);
        };
        // Who is known by an id may have got another name since.
        if !texts.id.is_empty() && !texts.are_shown_as(&self.packages[number as usize].shown) {
            self.packages[number as usize] = texts.record();
        }
        number
    }

    /// What tells the last package that was asked for from all others, also from those that share
    /// its number.
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The package of all requests whose package is not known.
    pub fn package_unknown(&mut self) -> u32 {
        self.learn_package(PackageRecord { shown: OTHER.to_owned(), ..PackageRecord::default() })
    }

    /// Takes a package as the store has it; its number in memory.
    pub fn learn_package(&mut self, record: PackageRecord) -> u32 {
        let print = self.by_identity.print(0, &record.identity());
        if let Some(number) = self.by_identity.get(print) {
            return number;
        }
        let number = u32::try_from(self.packages.len()).unwrap_or(u32::MAX);
        if !record.collection.is_empty() {
            *self.names_per_collection.entry(record.collection.clone()).or_default() += 1;
        }
        self.by_identity.insert(print, number);
        self.packages.push(record);
        number
    }

    /// The packages, by their number in memory.
    pub fn packages(&self) -> &[PackageRecord] {
        &self.packages
    }

    /// The row of a package's tag. Allocates nothing for a tag that is known.
    pub fn tag(&mut self, package: u32, tag: &[u8]) -> TagRow {
        let row = self.row(package, Dimension::Tag, tag, self.bounds.max_tags);
        self.beyond.tags += u64::from(row == TagRow::OTHER);
        row
    }

    /// The row of a digest that was fetched of a package: there are as many as tags.
    pub fn digest(&mut self, package: u32, digest: &[u8]) -> TagRow {
        let row = self.row(package, Dimension::Digest, digest, self.bounds.max_tags);
        self.beyond.tags += u64::from(row == TagRow::OTHER);
        row
    }

    /// The text of a package's row in another dimension: its own, or that of the rest.
    pub fn value(&mut self, package: u32, dimension: Dimension, value: &str) -> Arc<str> {
        let is_of_clients = Dimension::OF_CLIENTS.contains(&dimension);
        let of_places = if dimension.pair().is_some() { CROSSED_ROWS_MAX } else { PLACE_ROWS_MAX };
        let rows_max = if is_of_clients { self.bounds.max_clients } else { of_places };
        let row = self.row(package, dimension, value.as_bytes(), rows_max);
        let is_beyond = u64::from(row == TagRow::OTHER);
        self.beyond.clients += if is_of_clients { is_beyond } else { 0 };
        self.beyond.places += if is_of_clients { 0 } else { is_beyond };
        self.text(row)
    }

    /// Takes a row as the store has it.
    pub fn learn_row(&mut self, package: u32, dimension: Dimension, value: &str) {
        if self.fixed.iter().all(|fixed| **fixed != *value) {
            self.row(package, dimension, value.as_bytes(), usize::MAX);
        }
    }

    /// Forgets the rows of packages that are `gone`, but for those that are still `used`: what the
    /// store still has of them is to be [learned](Self::learn_row) again.
    pub fn forget_rows(&mut self, gone: impl Fn(u32) -> bool, used: &HashSet<TagRow>) {
        let empty: Arc<str> = Arc::default();
        let mut forgotten = HashSet::new();
        let rows = self.row_texts.iter_mut().zip(&mut self.row_owners);
        for (number, (text, owner)) in (TagRow::FIRST..).zip(rows) {
            let is_used = used.contains(&TagRow(number));
            let Some(of) = owner.take_if(|(package, _)| gone(*package) && !is_used) else {
                continue;
            };
            text.clone_from(&empty);
            forgotten.insert(number);
            if let Some(rows) = self.rows_per_package.get_mut(&of) {
                *rows = rows.saturating_sub(1);
            }
        }
        self.rows.forget(|number| forgotten.contains(&number));
    }

    /// Forgets packages that are `gone`: their number is not given again. None of them may be in use.
    pub fn forget_packages(&mut self, gone: impl Fn(u32, &PackageRecord) -> bool) {
        let mut forgotten = HashSet::new();
        for (number, package) in (0..).zip(&mut self.packages) {
            if package.shown.is_empty() || !gone(number, package) {
                continue;
            }
            if let Some(names) = self.names_per_collection.get_mut(&package.collection) {
                *names = names.saturating_sub(1);
            }
            *package = PackageRecord::default();
            forgotten.insert(number);
        }
        self.by_identity.forget(|number| forgotten.contains(&number));
        self.names_per_collection.retain(|_, names| *names > 0);
        self.rows_per_package.retain(|(package, _), _| !forgotten.contains(package));
        // The package that was asked for last may be one of them.
        self.identity.clear();
    }

    /// The text of a row.
    pub fn text(&self, row: TagRow) -> Arc<str> {
        let number = row.0 as usize;
        let own = |at: usize| self.row_texts.get(at);
        let text = self.fixed.get(number).or_else(|| own(number - self.fixed.len()));
        Arc::clone(text.unwrap_or(&self.fixed[TagRow::OTHER.0 as usize]))
    }

    fn row(&mut self, package: u32, dimension: Dimension, value: &[u8], rows_max: usize) -> TagRow {
        let print = self.rows.print(u64::from(package) << 8 | dimension as u64, value);
        if let Some(number) = self.rows.get(print) {
            return TagRow(number);
        }
        let in_package = self.rows_per_package.entry((package, dimension)).or_default();
        if *in_package >= rows_max || self.rows.count() >= ROWS_MAX {
            return TagRow::OTHER;
        }
        *in_package += 1;
        let number = TagRow::FIRST + u32::try_from(self.row_texts.len()).unwrap_or(0);
        self.row_texts.push(String::from_utf8_lossy(value).into());
        self.row_owners.push(Some((package, dimension)));
        self.rows.insert(print, number);
        TagRow(number)
    }

    fn add_package(&mut self, texts: PackageTexts<'_>) -> u32 {
        let record = texts.record();
        let names = self.names_per_collection.get(&record.collection).copied().unwrap_or(0);
        if record.collection.is_empty() || names < self.bounds.max_names {
            return self.learn_package(record);
        }
        self.beyond.names += 1;
        // Shown as `acme.com/library/(other)`; of no collection, so that it counts for none.
        let shown = format!("{}{OTHER}", record.collection.trim_end_matches('*'));
        self.learn_package(PackageRecord { shown, ..PackageRecord::default() })
    }
}

/// The rows that every package has.
fn fixed() -> [Arc<str>; TagRow::FIRST as usize] {
    ["(by digest)", "(supply chain)", OTHER, "(unfolded)"].map(Arc::from)
}

impl PackageTexts<'_> {
    /// The id where there is one; under a collection rule also the name, for each is a package of
    /// its own. Else domain and name.
    fn identity_to(&self, out: &mut Vec<u8>) {
        out.clear();
        if self.id.is_empty() {
            out.extend(self.domain);
            out.push(b'/');
            out.extend(self.name);
            return;
        }
        out.push(ID);
        out.extend(self.id);
        if !self.collection.is_empty() {
            out.push(b' ');
            out.extend(self.name);
        }
    }

    /// Whether people see it as `<domain>/<name>` already.
    fn are_shown_as(&self, shown: &str) -> bool {
        let rest = shown.as_bytes().strip_prefix(self.domain);
        rest.and_then(|rest| rest.strip_prefix(b"/")) == Some(self.name)
    }

    fn record(&self) -> PackageRecord {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let [id, domain, collection, name] =
            [self.id, self.domain, self.collection, self.name].map(text);
        PackageRecord {
            id: match (id.is_empty(), collection.is_empty()) {
                (false, false) => format!("{id} {name}"),
                _ => id,
            },
            shown: format!("{domain}/{name}"),
            collection: if collection.is_empty() {
                collection
            } else {
                format!("{domain}/{collection}")
            },
        }
    }
}

impl PackageRecord {
    /// As [`PackageTexts::identity_to`].
    fn identity(&self) -> Vec<u8> {
        if self.id.is_empty() {
            return self.shown.clone().into_bytes();
        }
        [&[ID], self.id.as_bytes()].concat()
    }
}

/// The text of the row that a tag is counted under, by itself or with the rest; what is no tag, such
/// as `(by digest)`, has its own.
pub fn text_of_tag(names: &mut Names, package: u32, tag: &str) -> Arc<str> {
    if tag.starts_with('(') {
        return tag.into();
    }
    let row = names.tag(package, tag.as_bytes());
    names.text(row)
}

/// Begins an identity by id: no domain begins with it.
const ID: u8 = b'\n';

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(collection: &'a str, name: &'a str) -> PackageTexts<'a> {
        PackageTexts {
            id: b"",
            domain: b"acme.com",
            collection: collection.as_bytes(),
            name: name.as_bytes(),
        }
    }

    fn names() -> Names {
        Names::new(Bounds { max_names: 2, max_tags: 3, max_clients: 2 })
    }

    #[test]
    fn names_beyond_a_collections_bound_share_a_row_and_keep_their_identity() {
        let mut names = names();
        let shown = |names: &mut Names, collection: &str, name: &str| {
            let number = names.package(texts(collection, name));
            let identity = String::from_utf8(names.identity().to_vec()).unwrap();
            (names.packages()[number as usize].shown.clone(), identity)
        };
        let own = |name: &str| (name.to_owned(), name.to_owned());
        for name in ["library/a", "library/b", "library/a"] {
            assert_eq!(shown(&mut names, "library/**", name), own(&format!("acme.com/{name}")));
        }
        for name in ["library/c", "library/d/e"] {
            assert_eq!(
                shown(&mut names, "library/**", name),
                ("acme.com/library/(other)".to_owned(), format!("acme.com/{name}"))
            );
        }
        assert_eq!(names.beyond.names, 2);
        assert_eq!(shown(&mut names, "", "tool"), own("acme.com/tool"));
        assert_eq!(shown(&mut names, "team/*", "team/x"), own("acme.com/team/x"));
    }

    #[test]
    fn a_package_with_an_id_is_shown_by_the_name_it_was_last_asked_for_by() {
        let mut names = names();
        let old = PackageTexts { id: b"r1", ..texts("", "rocket") };
        let number = names.learn_package(old.record());
        assert_eq!(names.package(PackageTexts { id: b"r1", ..texts("", "saturn") }), number);
        assert_eq!(names.packages()[number as usize].shown, "acme.com/saturn");
        assert_eq!(names.package(old), number);
        assert_eq!(names.packages()[number as usize].shown, "acme.com/rocket");
    }

    #[test]
    fn tags_and_clients_beyond_a_packages_bound_share_a_row() {
        let mut names = names();
        let tag = |names: &mut Names, package, tag: &str| {
            let row = names.tag(package, tag.as_bytes());
            names.text(row).to_string()
        };
        for wanted in ["a", "b", "c", "a"] {
            assert_eq!(tag(&mut names, 0, wanted), wanted);
        }
        assert_eq!(tag(&mut names, 0, "d"), "(other)");
        assert_eq!(tag(&mut names, 1, "d"), "d");
        assert_eq!(&*names.value(0, Dimension::Client, "docker 28.5.2"), "docker 28.5.2");
        assert_eq!(&*names.value(0, Dimension::Client, "docker 28.5.1"), "docker 28.5.1");
        assert_eq!(&*names.value(0, Dimension::Client, "docker 1"), "(other)");
        assert_eq!(&*names.value(0, Dimension::Os, "linux"), "linux");
        assert_eq!(names.beyond, Beyond { names: 0, tags: 1, clients: 1, places: 0 });
    }

    #[test]
    fn what_is_forgotten_makes_room_and_what_is_used_stays() {
        let mut names = names();
        let (gone, kept) =
            (texts("library/**", "library/gone"), texts("library/**", "library/kept"));
        let numbers = [names.package(gone), names.package(kept)];
        let rows = [b"a", b"b", b"c"].map(|tag| names.tag(numbers[0], tag));
        let other = names.tag(numbers[1], b"a");
        let is_gone = |number| number == numbers[0];
        names.forget_rows(is_gone, &HashSet::from([rows[0]]));
        assert_eq!(names.tag(numbers[0], b"a"), rows[0]);
        assert_eq!((&*names.text(rows[1]), &*names.text(other)), ("", "a"));
        // Two are free again, and get numbers of their own.
        for tag in [b"d", b"b"] {
            assert!(names.tag(numbers[0], tag).0 > other.0);
        }
        assert_eq!(names.tag(numbers[0], b"e"), TagRow::OTHER);

        names.forget_rows(is_gone, &HashSet::new());
        names.forget_packages(|number, _| is_gone(number));
        let remembered = format!("{:?} {:?}", names.packages(), names.row_texts);
        assert!(!remembered.contains("gone") && remembered.contains("library/kept"));
        assert!(names.identity().is_empty());
        let again = names.package(gone);
        assert!(again > numbers[1] && names.beyond.names == 0);
        assert_eq!(&*names.packages()[again as usize].shown, "acme.com/library/gone");
    }

    #[test]
    fn what_the_store_knows_takes_room_and_its_fixed_rows_take_none() {
        let mut names = names();
        let package = names.learn_package(texts("library/**", "library/a").record());
        for value in ["(other)", "(by digest)", "x", "y", "z"] {
            names.learn_row(package, Dimension::Tag, value);
        }
        assert_eq!(names.tag(package, b"x").0, TagRow::FIRST);
        assert_eq!(names.tag(package, b"new"), TagRow::OTHER);
        assert_eq!(names.package(texts("library/**", "library/a")), package);
    }
}
