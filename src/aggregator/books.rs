//! What becomes of an event: which package, tag, client and place it is of, what folding makes of it,
//! and where all that is added up until it is written.

use std::cell::RefCell;
use std::sync::Arc;

use crate::aggregator::clients::Clients;
use crate::aggregator::clock::{Clock, MONTH_MINUTES_MAX, month_begins};
use crate::aggregator::counts::CountsError;
use crate::aggregator::feed::{Booked, Followers};
use crate::aggregator::names::{Names, PackageTexts};
use crate::aggregator::persist::Persist;
use crate::aggregator::places::{NOWHERE, Places};
use crate::aggregator::schema::cell_range;
use crate::aggregator::tally::{Tally, value_of};
use crate::aggregator::uniques::{Rise, Uniques, has_come};
use crate::messages::pulls::{Unfolded, UnfoldedRequests};
use crate::pure::client::Client;
use crate::pure::http1::forwarded::client_key;
use crate::pure::place::Place;
use crate::pure::pull::event::{Address, Asked, Event, Outcome};
use crate::pure::pull::fold::{Booking, Fold, Request};
use crate::pure::pull::platform::Platform;
use crate::pure::pull::rollup::{Cell, Dimension, Measures, Unit};
use crate::pure::pull::window::{Subject, TagRow};

/// Where bookings go, and what gives them their names.
pub struct Books {
    /// Client programs.
    pub clients: Clients,
    /// Where from.
    pub places: Places,
    /// Which clients and companies there were.
    pub uniques: Uniques,
    /// See [`Counting::respect_dnt`](crate::pure::config::values::Counting::respect_dnt).
    pub respect_dnt: bool,
    /// Packages and rows.
    pub names: Names,
    /// What was added up.
    pub tally: Tally,
    /// Who is told of each pull.
    pub followers: Followers,
    /// What was booked, for whoever takes it.
    pub booked: Measures,
    /// Pulls that a feed was too slow for, the same.
    pub feed_dropped: u64,
}

impl Books {
    /// Nothing is booked yet.
    pub fn new(
        clients: Clients,
        places: Places,
        uniques: Uniques,
        respect_dnt: bool,
        names: Names,
    ) -> Self {
        Self {
            clients,
            places,
            uniques,
            respect_dnt,
            names,
            tally: Tally::default(),
            followers: Followers::default(),
            booked: Measures::ZERO,
            feed_dropped: 0,
        }
    }

    /// Goes on by what another process knew, with the tables of this one.
    pub fn inherit(
        &mut self,
        names: Names,
        clients: Vec<Client>,
        places: Vec<Place>,
        uniques: Uniques,
    ) {
        self.names = names;
        self.clients = Clients::restored(self.clients.table().clone(), clients);
        self.places = Places::restored(self.places.sources(), places);
        self.uniques.go_on(uniques);
    }

    /// One event: what it is, and what it makes.
    pub fn take(&mut self, event: &Event<'_>, clock: &Clock, fold: &mut Fold) {
        let Event { id, domain, collection, name, .. } = *event;
        let package = self.names.package(PackageTexts { id, domain, collection, name });
        let names_tag = matches!(event.asked, Asked::Manifest | Asked::ManifestHead)
            && Subject::of(event.reference) == Subject::Tag;
        let row = match names_tag {
            true => self.names.tag(package, event.reference),
            false => TagRow::BY_DIGEST,
        };
        let number = self.clients.identify(event.user_agent);
        let client = self.clients.identified(number);
        let request = Request {
            at_us: event.at_us,
            minute: clock.minute(event.at_us),
            source: Address(client_key(event.address.0)),
            connection: event.connection,
            asked: event.asked,
            outcome: event.outcome,
            way: event.way,
            package,
            package_identity: self.names.identity(),
            client: number,
            family: &client.family,
            major: client.major(),
            reference: event.reference,
            row,
            digest: event.digest,
            kin: event.kin,
            bytes: event.bytes,
        };
        let (names, clients) = (&self.names, &self.clients);
        let (tally, booked) = (&mut self.tally, &mut self.booked);
        let uniques = &mut self.uniques;
        let (followers, dropped) = (&mut self.followers, &mut self.feed_dropped);
        let is_private = event.is_private && self.respect_dnt;
        // The only use of an address beside the folding key: it ends with this event.
        let places = RefCell::new(&mut self.places);
        // Who does not want to be tracked is nowhere, but in the operator's own excluded networks.
        let allowed = |places: &Places, place| match is_private && !places.is_excluded(place) {
            true => NOWHERE,
            false => place,
        };
        let mut locate = || {
            let place = places.borrow_mut().locate(event.address.0);
            allowed(*places.borrow(), place)
        };
        let outcome = match event.asked {
            Asked::Manifest => Some(event.outcome),
            // What is proven by a blob is a pull of which nobody has seen an answer.
            Asked::Blob | Asked::BlobHead => Some(Outcome::Redirected),
            Asked::ManifestHead | Asked::Referrers | Asked::BlobEnd => None,
        };
        let mut pulled_in = None;
        fold.take(&request, &mut locate, &mut |mut booking| {
            let places = &*places.borrow();
            // Its window may have been opened by one that had no such wish. What is booked of a
            // window that closes meanwhile is that window's.
            let Measures { checks, up_to_date, partial, .. } = booking.measures;
            if checks + up_to_date + partial == 0 {
                booking.place = allowed(places, booking.place);
            }
            include(&mut booking, outcome, places, tally);
            if booking.measures.pulls > 0 {
                pulled_in = Some(booking.minute);
                if !is_private {
                    see(uniques, tally, request.source, &booking, places);
                }
            }
            *booked += booking.measures;
            if booking.measures.pulls > 0 && !followers.is_empty() {
                *dropped += tell(followers, &booking, names, clients);
            }
        });
        let digest = fetched(event);
        if let Some(minute) = pulled_in.filter(|_| !digest.is_empty()) {
            let row = self.names.digest(package, digest);
            self.tally.fetch(package, row, minute);
        }
    }

    /// Counts what folding makes of time that passes.
    pub fn book(&mut self, booking: &Booking) {
        let mut booking = *booking;
        include(&mut booking, None, &self.places, &mut self.tally);
        self.booked += booking.measures;
    }

    /// Totals of requests whose events could not be kept.
    pub fn take_unfolded(&mut self, unfolded: &Unfolded, clock: &Clock) {
        let minute = clock.minute(unfolded.since_us);
        let client = self.clients.identify(b"");
        let booking = |package, UnfoldedRequests { all, unseen }| Booking {
            package,
            client,
            row: TagRow::UNFOLDED,
            place: NOWHERE,
            way: None,
            platform: Platform::NONE,
            minute,
            measures: Measures { requests: all, unseen, unfolded: all, ..Measures::ZERO },
        };
        for (package, requests) in &unfolded.requests {
            let (id, domain) = (&*package.id, &*package.domain);
            let (collection, name) = (&*package.collection, &*package.name);
            let package = self.names.package(PackageTexts { id, domain, collection, name });
            self.book(&booking(package, *requests));
        }
        if unfolded.requests_other.all > 0 {
            let package = self.names.package_unknown();
            self.book(&booking(package, unfolded.requests_other));
        }
    }

    /// Learns again which companies the store has of the month that begins so, of packages of which some
    /// were told in it. Where it does not answer there are none: they count again.
    pub fn learn_companies_of(&mut self, month: u32, persist: &mut Persist) {
        let view = persist.view(&self.names);
        let days = month..month.saturating_add(MONTH_MINUTES_MAX);
        let is_of_month = |minute| month_begins(minute) == month;
        let mut companies = Vec::new();
        let mut learn = || {
            for (number, package) in view.packages()? {
                let range = |dimension| cell_range(Unit::Day, number, dimension, days.clone());
                let mut told = 0;
                view.cells(range(Dimension::All), |cell, measures| {
                    told += if is_of_month(cell.minute) { measures.monthly_companies } else { 0 };
                })?;
                // What came before the month began here counts in it.
                if told == 0 {
                    continue;
                }
                let package = self.names.learn_package(package);
                view.cells(range(Dimension::Company), |cell, measures| {
                    if has_come(cell.value, &measures) && is_of_month(cell.minute) {
                        companies.push((package, String::from_utf8_lossy(cell.value).into_owned()));
                    }
                })?;
            }
            Ok::<_, CountsError>(())
        };
        if let Err(error) = learn() {
            tracing::warn!(%error, "which companies came this month is not known");
        }
        drop(view);
        self.uniques.learn_companies(&companies);
    }

    /// Moves what was counted to where it waits to be written; unique clients are those of `day`.
    pub fn drain(&mut self, persist: &mut Persist, day: u32) {
        if let Some(companies) = persist.companies.take() {
            self.uniques.learn_companies(&companies);
        }
        let Self { tally, names, clients, places, uniques, .. } = self;
        let minute = day * Unit::Day.minutes();
        let (of_clients, of_companies) = uniques.rises();
        let of = |package| Cell {
            package,
            dimension: Dimension::All,
            value: Arc::default(),
            unit: Unit::Day,
            minute,
        };
        for Rise { package, by } in of_clients {
            persist.cells.add(of(package), Measures { daily_uniques: by, ..Measures::ZERO });
        }
        for Rise { package, by } in of_companies {
            persist.cells.add(of(package), Measures { monthly_companies: by, ..Measures::ZERO });
        }
        tally.drain(names, clients, places, &mut persist.cells, minute);
    }
}

/// The digest of the manifest that a GET has brought, or will where it is redirected; empty where it
/// is not known.
fn fetched<'e>(event: &Event<'e>) -> &'e [u8] {
    match event.asked {
        Asked::Manifest if !event.digest.is_empty() => event.digest,
        Asked::Manifest if Subject::of(event.reference) == Subject::Digest => event.reference,
        Asked::Manifest
        | Asked::ManifestHead
        | Asked::Blob
        | Asked::BlobHead
        | Asked::Referrers
        | Asked::BlobEnd => b"",
    }
}

/// Adds a booking; of one from a network that is left out only the requests, as such.
fn include(booking: &mut Booking, outcome: Option<Outcome>, places: &Places, tally: &mut Tally) {
    if places.is_excluded(booking.place) {
        let excluded = booking.measures.requests;
        booking.measures = Measures { excluded, ..Measures::ZERO };
        booking.way = None;
        booking.platform = Platform::NONE;
        booking.place = NOWHERE;
    }
    if booking.measures != Measures::ZERO {
        tally.add(booking, outcome, places);
    }
}

/// Counts the client of a pull, its company, and whether a crowd has pulled from its place.
fn see(
    uniques: &mut Uniques,
    tally: &mut Tally,
    source: Address,
    booking: &Booking,
    places: &Places,
) {
    let Booking { package, place, row, .. } = *booking;
    uniques.see(package, source);
    if place == NOWHERE {
        return;
    }
    let company = places.value(place, Dimension::Company);
    if !company.is_empty() {
        uniques.see_company(package, company);
    }
    for dimension in Dimension::OF_PLACES {
        let value = places.value(place, dimension);
        if !value.is_empty() && uniques.crowds(source, package, dimension, value, None) {
            tally.crowd(package, dimension, value, None);
        }
    }
    for dimension in [Dimension::CountryTag, Dimension::CompanyTag] {
        let Some((of_place, _)) = dimension.pair() else { continue };
        let value = places.value(place, of_place);
        if !value.is_empty() && uniques.crowds(source, package, dimension, value, Some(row)) {
            tally.crowd(package, dimension, value, Some(row));
        }
    }
}

/// Tells of a pull whoever follows those of its package; how many were too slow.
fn tell(followers: &mut Followers, booking: &Booking, names: &Names, clients: &Clients) -> u64 {
    let package = names.packages().get(booking.package as usize);
    let package = package.map(|package| package.shown.as_str()).unwrap_or_default();
    followers.tell(package, || {
        let client = clients.get(booking.client);
        Booked {
            package: package.to_owned(),
            tag: names.text(booking.row).as_ref().to_owned(),
            client: client.family.clone(),
            version: client.version.clone(),
            platform: value_of(client, Dimension::Platform),
        }
    })
}
