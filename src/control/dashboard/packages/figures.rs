//! Numbers as a page shows them: beside those of the period before, and as shares of a whole.

use super::view::{MEASURES, Measure, View};
use crate::aggregator::{Answer, By};
use crate::pure::chart::share::{bar, stack};
use crate::pure::chart::world::{Country, map};
use crate::pure::chart::{grouped, per_mille};
use crate::pure::place::countries;
use crate::pure::pull::rollup::{Dimension, Measures};

/// A number, and how it has changed.
pub(super) struct Tile {
    pub(super) title: &'static str,
    pub(super) hint: &'static str,
    pub(super) word: &'static str,
    pub(super) value: String,
    pub(super) change: Option<Change>,
    /// Where the chart of it is.
    pub(super) href: String,
    pub(super) is_current: bool,
}

/// By how much a number differs from that of the period before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// `+12 %`
    pub(super) words: String,
    /// `up`, `down` or `level`
    pub(super) class: &'static str,
    /// `10 before`
    pub(super) before: String,
}

impl Change {
    /// From `before` to `now`; `None` where there was nothing at either time.
    pub(super) fn of(now: u64, before: u64, number: fn(u64) -> String) -> Option<Self> {
        let told = format!("{} before", number(before));
        if before == 0 {
            let new = Self { words: "new".to_owned(), class: "up", before: told };
            return (now > 0).then_some(new);
        }
        let (now, before) = (i128::from(now), i128::from(before));
        let percent = ((now - before) * 200 + before * (now - before).signum()) / (before * 2);
        let (words, class) = match percent {
            1.. => (format!("+{percent} %"), "up"),
            0 => ("±0 %".to_owned(), "level"),
            ..0 => (format!("−{} %", -percent), "down"),
        };
        Some(Self { words, class, before: told })
    }
}

/// All measures of a period. Traffic has no tile where there was none.
pub(super) fn tiles(
    path: &str,
    view: &View,
    totals: &Measures,
    before: Option<&Measures>,
) -> Vec<Tile> {
    // Compared with nothing at all, everything would be new.
    let before = before.filter(|before| before.requests > 0 || before.checks > 0);
    let is_shown = |measure: &&Measure| measure.word != "blob_bytes" || (measure.of)(totals) > 0;
    let tile = |measure: &'static Measure| {
        let value = (measure.of)(totals);
        let change =
            before.and_then(|before| Change::of(value, (measure.of)(before), measure.number));
        Tile {
            title: measure.title,
            hint: measure.hint,
            word: measure.word,
            value: (measure.number)(value),
            change,
            href: format!("{path}{}", view.measured(measure).query()),
            is_current: measure.word == view.measure.word,
        }
    };
    MEASURES.iter().filter(is_shown).map(tile).collect()
}

/// How far the pulls of a period went.
pub(super) struct Completeness {
    /// The bar, as SVG.
    pub(super) bar: String,
    pub(super) parts: Vec<Part>,
}

/// One sort of pulls.
pub(super) struct Part {
    pub(super) class: &'static str,
    /// As in exports.
    pub(super) word: &'static str,
    pub(super) title: &'static str,
    pub(super) hint: &'static str,
    pub(super) pulls: u64,
    pub(super) value: String,
    pub(super) share: String,
}

/// `None` where nothing was pulled.
pub(super) fn completeness(totals: &Measures) -> Option<Completeness> {
    let whole = totals.pulls;
    if whole == 0 {
        return None;
    }
    let parts = parts(totals);
    let bar = stack(&parts.each_ref().map(|part| (part.class, per_mille(part.pulls, whole))));
    Some(Completeness { bar, parts: parts.into() })
}

/// All sorts of pulls, each pull in one of them.
pub(super) fn parts(totals: &Measures) -> [Part; 4] {
    let Measures { pulls: whole, complete, partial, up_to_date, .. } = *totals;
    let unseen = whole.saturating_sub(complete).saturating_sub(up_to_date);
    let part = |class, word, title, hint, pulls| {
        let (share, value) = (percent(pulls, whole), grouped(pulls));
        Part { class, word, title, hint, pulls, value, share }
    };
    let complete = complete.saturating_sub(partial);
    [
        part("complete", "complete", "Complete", "layers were fetched", complete),
        part("partial", "partial", "Partial", "a transfer broke off and was not resumed", partial),
        part(
            "current",
            "up_to_date",
            "Up to date",
            "manifests were enough: nothing was new",
            up_to_date,
        ),
        part("beyond", "unseen", "Unseen", "redirected: the rest went past the gateway", unseen),
    ]
}

/// By what the chart is downloaded: in the pieces that it shows.
pub(super) const CHART: &str = "chart";

/// By what the parts of [`Completeness`] are downloaded.
pub(super) const PARTS: &str = "completeness";

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// People of the package.
    People,
    /// Everybody: of places what the privacy threshold allows, over all time and unfiltered.
    Everybody,
}

/// The rows of one dimension.
pub(super) struct Panel {
    /// `tag`
    pub(super) word: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Vec<PanelRow>,
    /// Of countries the map, as SVG.
    pub(super) map: Option<String>,
    /// Why there are none.
    pub(super) note: Option<&'static str>,
    /// What these rows are of, where that is not what the rest of the page is of.
    pub(super) scope: Option<String>,
    /// Whether something is known of some of it.
    pub(super) is_known: bool,
    /// Where all rows are, or few again.
    pub(super) more: Option<(String, &'static str)>,
    /// The question that a download of it asks.
    pub(super) download: String,
}

/// One row.
pub(super) struct PanelRow {
    pub(super) name: String,
    /// The same as it stands in the counts, where that is something else.
    pub(super) code: String,
    /// Where only this is shown, or no longer; empty for what is no value.
    pub(super) href: String,
    pub(super) is_filter: bool,
    pub(super) value: String,
    pub(super) share: String,
    /// The bar, as SVG.
    pub(super) bar: String,
}

/// The dimensions of a package's page, each with its title; everybody sees them where it is public.
pub(super) static PANELS: [(By, &str); 9] = [
    (By::Tag, "Tags"),
    (By::Family, "Clients"),
    (By::Client, "Client versions"),
    (By::Platform, "Systems"),
    (By::ImagePlatform, "Image platforms"),
    (By::Country, "Countries"),
    (By::Company, "Companies"),
    (By::Cloud, "Clouds"),
    (By::Network, "Networks"),
];
/// All others, which say something of some packages only, or what another says closer; none of them is for everybody.
pub(super) static MORE: [(By, &str); 10] = [
    (By::Os, "Operating systems"),
    (By::Arch, "Architectures"),
    (By::Digest, "Digests"),
    (By::Delivery, "Deliveries"),
    (By::Outcome, "Outcomes"),
    (By::Region, "Regions"),
    (By::City, "Cities"),
    (By::Kind, "Kinds of company"),
    (By::CloudRegion, "Cloud regions"),
    (By::Label, "Labels"),
];
/// Rows of a dimension that are shown at first.
const ROWS_FEW: usize = 8;
/// Rows of a dimension that are asked for, and shown where all are wanted: a page must end somewhere. A
/// download has them all.
pub(super) const ROWS_MANY: usize = 200;

impl Panel {
    /// The rows that `answer` has; what it was refused for is said.
    pub(super) fn of<'a>(
        (by, title): (By, &'static str),
        path: &str,
        view: &View,
        answer: Option<&'a Answer>,
        audience: Audience,
    ) -> Self {
        let is_ever = audience == Audience::Everybody && is_place(by);
        // Of places everybody is told the pulls alone.
        let measure = if is_ever { &MEASURES[0] } else { view.measure };
        let scope = match is_ever {
            true => Some(EVER.to_owned()),
            false => {
                answer.and_then(|answer| view.whole_days(answer)).map(|days| format!("Of {days}"))
            }
        };
        let mut panel = Self {
            word: by.as_str(),
            title,
            rows: Vec::new(),
            map: None,
            note: None,
            scope,
            is_known: false,
            more: None,
            download: download(view, by.as_str()),
        };
        let Some(answer) = answer else {
            panel.note = Some("Not counted together with this filter.");
            return panel;
        };
        let of = |measures: &Measures| (measure.of)(measures);
        let whole = answer.rows.iter().map(|row| of(&row.measures)).sum();
        let mut rows: Vec<(&'a str, u64)> = answer
            .rows
            .iter()
            .filter_map(|row| Some((row.keys.first()?.1.as_str(), of(&row.measures))))
            .filter(|(_, value)| *value > 0)
            .collect();
        panel.is_known = rows.iter().any(|(name, _)| *name != UNKNOWN);
        // What is not known of places is mostly much, and says little.
        let is_rest = |name: &str| name == OTHER || name == UNKNOWN && is_place(by);
        rows.sort_by_key(|(name, value)| {
            (*name == OTHER, is_rest(name), std::cmp::Reverse(*value))
        });
        let known = rows.iter().filter(|(name, _)| !is_rest(name));
        let most = known.map(|(_, value)| *value).max().unwrap_or_default();
        if rows.iter().all(|(name, _)| *name == UNKNOWN) && !rows.is_empty() && is_place(by) {
            panel.note = Some(
                "Not known: no database of `insight.databases` tells it. See docs/privacy.md.",
            );
            return panel;
        }
        if rows.is_empty() {
            panel.note = Some("Nothing in this time.");
        }
        if by == By::Country && !rows.is_empty() {
            let told = |(name, value): &(&'a str, u64)| -> Country<'a> {
                let words = format!("{}: {}", countries::name(name), (measure.number)(*value));
                (*name, *value, words)
            };
            let countries: Vec<_> = rows.iter().map(told).collect();
            let words = format!("{} by country, as in the table", measure.title);
            panel.map = Some(map(&countries, &words));
        }
        panel.more = match view.all {
            Some(all) if all == by => Some((view.with_all(None), "Show fewer")),
            Some(_) | None if rows.len() > ROWS_FEW + 1 => {
                let rest = rows.split_off(ROWS_FEW).iter().map(|(_, value)| value).sum();
                rows.push((OTHER, rest));
                Some((view.with_all(Some(by)), "Show all"))
            }
            Some(_) | None => None,
        }
        .map(|(view, words)| (format!("{path}{}#{}", view.query(), by.as_str()), words));
        panel.rows = rows
            .into_iter()
            .map(|(name, value)| {
                let is_code = by == By::Country && name.len() == 2;
                let shown = if is_code { countries::name(name) } else { name };
                let shown = if by == By::Digest { short_digest(shown) } else { shown.to_owned() };
                let code = if is_code { name } else { "" };
                let href = match name == OTHER || is_ever {
                    true => String::new(),
                    false => format!("{path}{}", view.toggled(by, name).query()),
                };
                PanelRow {
                    name: shown,
                    code: code.to_owned(),
                    href,
                    is_filter: view.shows_only(by, name),
                    value: (measure.number)(value),
                    share: percent(value, whole),
                    bar: bar(per_mille(value, most)),
                }
            })
            .collect();
        panel
    }
}

/// The query of an address that downloads what is told apart by this.
pub(super) fn download(view: &View, by: &str) -> String {
    let query = view.with_all(None).with_more(false).query();
    let joint = if query.is_empty() { '?' } else { '&' };
    format!("{query}{joint}by={by}")
}

/// `12 %`, `0.4 %`
fn percent(part: u64, whole: u64) -> String {
    match per_mille(part, whole) {
        0 if part > 0 => "<0.1 %".to_owned(),
        few @ 1..100 => format!("{}.{} %", few / 10, few % 10),
        many => format!("{} %", many / 10),
    }
}

/// `sha256:0123456789ab…`: as much of it as people tell apart. The filter that it is has it whole.
fn short_digest(digest: &str) -> String {
    let end = digest.find(':').map(|colon| colon + 1 + DIGEST_SHOWN);
    match end.and_then(|end| digest.get(..end)).filter(|short| short.len() < digest.len()) {
        Some(short) => format!("{short}…"),
        None => digest.to_owned(),
    }
}

/// Whether it says where clients are.
pub(super) fn is_place(by: By) -> bool {
    by.dimension().is_some_and(|dimension| Dimension::OF_PLACES.contains(&dimension))
}

/// What everybody is told of places.
const EVER: &str = "Pulls since the beginning, and only where enough clients came from.";

/// Digits of a digest that are shown, as container tools do.
const DIGEST_SHOWN: usize = 12;

/// The row of what is counted together.
const OTHER: &str = "(other)";
/// The row of what is not known.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::Row;
    use jiff::Timestamp;

    fn view(params: &[(&str, &str)]) -> View {
        let params: Vec<_> =
            params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        View::of(&params, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn answer(by: By, rows: &[(&str, u64)]) -> Answer {
        let row = |(name, pulls): &(&str, u64)| Row {
            package: "a.b/c".into(),
            keys: vec![(by, (*name).to_owned())],
            measures: Measures { pulls: *pulls, ..Measures::ZERO },
            previous: None,
        };
        Answer {
            from: None,
            to: Timestamp::UNIX_EPOCH,
            rows: rows.iter().map(row).collect(),
            totals: Measures::ZERO,
            previous: None,
        }
    }

    #[test]
    fn a_change_is_a_rounded_percentage() {
        for (now, before, words) in [
            (112, 100, "+12 %"),
            (90, 100, "−10 %"),
            (1005, 1000, "+1 %"),
            (995, 1000, "−1 %"),
            (1004, 1000, "±0 %"),
            (3, 0, "new"),
            (0, 7, "−100 %"),
        ] {
            assert_eq!(Change::of(now, before, grouped).unwrap().words, words, "{before} to {now}");
        }
        assert_eq!(Change::of(0, 0, grouped), None);
    }

    #[test]
    fn a_panel_has_its_rows_the_rest_last_and_links_that_filter() {
        let rows = [("(other)", 60), ("DE", 30), ("unknown", 10), ("<b>", 0)];
        let panel = Panel::of(
            (By::Country, "Countries"),
            "/p",
            &view(&[]),
            Some(&answer(By::Country, &rows)),
            Audience::People,
        );
        let told: Vec<_> = panel
            .rows
            .iter()
            .map(|row| (row.name.as_str(), row.share.as_str(), row.href.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("Germany", "30 %", "/p?country=DE"),
                ("unknown", "10 %", "/p?country=unknown"),
                ("(other)", "60 %", ""),
            ]
        );
        assert_eq!((panel.download.as_str(), panel.scope), ("?by=country", None));
        let shown = Panel::of(
            (By::Country, "Countries"),
            "/p",
            &view(&[("country", "DE")]),
            Some(&answer(By::Country, &[("DE", 1)])),
            Audience::People,
        );
        assert_eq!((shown.rows[0].href.as_str(), shown.rows[0].is_filter), ("/p", true));
    }

    #[test]
    fn a_panel_of_more_than_the_period_says_so_and_what_is_taken_from_it_is_not_more() {
        let digests = answer(By::Digest, &[("sha256:0", 1)]);
        let from = "1969-12-31T00:00:00Z".parse().ok();
        let answer = Answer { from, to: "1970-01-02T00:00:00Z".parse().unwrap(), ..digests };
        let panel = Panel::of(
            (By::Digest, "Digests"),
            "/p",
            &view(&[("range", "24h"), ("more", "true")]),
            Some(&answer),
            Audience::People,
        );
        assert_eq!(panel.scope.as_deref(), Some("Of whole days: 31 Dec to 1 Jan (UTC)"));
        assert_eq!(panel.download, "?range=24h&by=digest");
    }

    #[test]
    fn everybody_sees_places_over_all_time_and_filters_by_none() {
        let (rows, view) = (answer(By::Country, &[("DE", 1)]), view(&[("range", "7d")]));
        let panel = |by| Panel::of((by, ""), "/p", &view, Some(&rows), Audience::Everybody);
        let countries = panel(By::Country);
        assert!(countries.scope.is_some() && countries.rows[0].href.is_empty());
        let tags = panel(By::Tag);
        assert!(tags.scope.is_none() && !tags.rows[0].href.is_empty());
    }

    #[test]
    fn few_rows_are_shown_until_all_are_wanted_and_the_map_has_them_all() {
        let codes = ["DE", "FR", "SE", "NO", "FI", "PL", "US", "CA", "MX", "BR"];
        let rows: Vec<_> = codes.iter().zip(10..).map(|(code, pulls)| (*code, pulls)).collect();
        let panel = |params: &[(&str, &str)]| {
            let answer = answer(By::Country, &rows);
            Panel::of(
                (By::Country, "Countries"),
                "/p",
                &view(params),
                Some(&answer),
                Audience::People,
            )
        };
        let few = panel(&[]);
        assert_eq!((few.rows.len(), few.rows[8].value.as_str()), (9, "21"));
        assert_eq!(few.more, Some(("/p?all=country#country".to_owned(), "Show all")));
        assert!(few.map.is_some_and(|map| map.contains("Germany: 10")));
        let all = panel(&[("all", "country")]);
        assert_eq!((all.rows.len(), all.more), (10, Some(("/p#country".to_owned(), "Show fewer"))));
    }

    #[test]
    fn what_is_told_apart_is_shown_once_or_more_and_everything_is() {
        let mut shown: Vec<By> = PANELS.iter().chain(&MORE).map(|(by, _)| *by).collect();
        shown.sort_unstable();
        let all = By::EVERY.into_iter().filter(|by| by.dimension().is_some());
        let mut all: Vec<By> = all.collect();
        all.sort_unstable();
        assert_eq!(shown, all, "each dimension is a filter by a click");
    }

    #[test]
    fn a_digest_is_shown_short_and_is_a_filter_as_a_whole() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let rows = [(&*digest, 3), ("unknown", 2), ("sha256:0", 1)];
        let panel = Panel::of(
            (By::Digest, "Digests"),
            "/p",
            &view(&[]),
            Some(&answer(By::Digest, &rows)),
            Audience::People,
        );
        let names: Vec<_> = panel.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["sha256:0123456789ab…", "unknown", "sha256:0"]);
        assert!(panel.is_known && panel.rows[0].href.ends_with("cdef"), "{}", panel.rows[0].href);
        let unknown = answer(By::Label, &[("unknown", 5)]);
        let panel = (By::Label, "Labels");
        assert!(!Panel::of(panel, "/p", &view(&[]), Some(&unknown), Audience::People).is_known);
    }

    #[test]
    fn a_panel_without_rows_says_why() {
        let note = |rows: Option<&[(&str, u64)]>| {
            let answer = rows.map(|rows| answer(By::Cloud, rows));
            let panel = (By::Cloud, "Clouds");
            Panel::of(panel, "/p", &view(&[]), answer.as_ref(), Audience::People).note.unwrap()
        };
        assert!(note(None).contains("filter"));
        assert!(note(Some(&[])).contains("Nothing"));
        assert!(note(Some(&[("unknown", 5)])).contains("insight.databases"));
    }

    #[test]
    fn the_four_sorts_of_pulls_are_all_of_them() {
        let totals =
            Measures { pulls: 1000, complete: 500, partial: 1, up_to_date: 300, ..Measures::ZERO };
        let completeness = completeness(&totals).unwrap();
        let told: Vec<_> = completeness
            .parts
            .iter()
            .map(|part| (part.value.as_str(), part.share.as_str()))
            .collect();
        assert_eq!(told, [("499", "49 %"), ("1", "0.1 %"), ("300", "30 %"), ("200", "20 %")]);
        assert!(super::completeness(&Measures::ZERO).is_none());
    }
}
