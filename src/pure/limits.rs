//! Every fixed bound of the program, with its reason. What an operator may change is in
//! `config/file.rs`; what nobody should need to change is here.

/// A repository name's length, in bytes. The distribution spec leaves it open but names 255 for
/// host and name together as what clients enforce.
pub const NAME_BYTES_MAX: usize = 255;

/// A tag's length, in bytes (OCI distribution spec, "Pulling manifests").
pub const TAG_BYTES_MAX: usize = 128;

/// A digest's length, in bytes: `sha512:` and 128 hexadecimal digits are 135; other algorithms get
/// the next round number.
pub const DIGEST_BYTES_MAX: usize = 160;

/// A host name's length without its port, in bytes (RFC 1035, 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// A package's `id`, in bytes: room for a UUID or a slug.
pub const PACKAGE_ID_BYTES_MAX: usize = 64;

/// The most packages that one configuration can have: the route table's texts have 32-bit places.
pub const PACKAGES_MAX: usize = 3_000_000;

/// How much of a user agent travels with a pull event, in bytes. Docker's own is about 200.
pub const USER_AGENT_BYTES_MAX: usize = 256;

/// The most request header fields that can be configured: the parser's array stands on the stack.
pub const HEADERS_MAX: usize = 128;

/// The most that `limits.head_bytes` can be set to. Sixteen docker requests fit, so that a
/// pipelining client costs one receive for all of them.
pub const RECEIVE_BYTES: usize = 16 * 1024;

/// A worker's buffers, for receiving as for answering, in bytes: five of the system's pages. An
/// answer of ours is at most a `Location` of a whole request target beside the fixed lines.
pub const BUFFER_BYTES: usize = 20 * 1024;

/// Buffers that connections may hold while they wait for their next request. Beyond it they wait
/// without one: a fresh buffer is 20 KiB, and this many are 80 MiB.
pub const BUFFERS_WAITING_MAX: usize = 4096;

/// How much of what a refused client still sends is read before its connection is closed: closing
/// on unread bytes resets the connection, and the answer could be lost (RFC 9112, 9.6). It is little to read, and
/// what a client has sent when it sees the answer: the buffers of both sides, which grow to megabytes.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Refused connections that one worker tells so at a time: beyond it they are just closed, for they
/// are outside every other bound.
pub const REFUSING_MAX: usize = 32;

/// Requests for the dashboard that one worker has under way at once, pages that watch among them: pulls
/// are not to share their descriptors with more.
pub const HANDED_ON_MAX: usize = 128;

/// Descriptors kept free of client connections, where `limits.connections` follows from the
/// descriptor limit: listeners, rings, the store, the admin listener.
pub const DESCRIPTORS_RESERVED: u64 = 96;

/// A manifest or a list that is handed on, in bytes: clients take no larger manifests either
/// (containerd, containers/image).
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A registry's error that is handed on, in bytes.
pub const ERROR_BYTES_MAX: usize = 64 * 1024;

/// A token service's answer, in bytes: real tokens reach several KiB.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// A challenge of a registry's `/v2/` that is relayed in an answer of ours, in bytes.
pub const CHALLENGE_BYTES_MAX: usize = 4 * 1024;

/// The head of a registry's answer, in bytes: signed redirects of storage reach several KiB.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = RECEIVE_BYTES;

/// Heads of interim answers (1xx) before the one that counts.
pub const INTERIM_HEADS_MAX: usize = 8;

/// One page of pull events, in bytes: about 150 events with docker's user agent, 30 at the least.
pub const PAGE_BYTES: usize = 64 * 1024;

/// What is remembered of one manifest that was seen: platforms of an index, layers of an image.
/// Docker's images have at most 127 layers; the longest official indexes list about 40 manifests.
pub const KIN_MEMBERS_MAX: usize = 128;

/// Manifests whose kin the aggregator remembers, in bytes; past it the least recently used are
/// forgotten. An image of ten layers is about 200, so that this is some 150,000 manifests.
pub const FAMILIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Pages that one worker's channel holds. 128 pages are 8 MiB and about 25,000 events: the
/// aggregator looks every few milliseconds.
pub const PAGES_IN_CHANNEL: usize = 128;

/// Pages that a worker keeps while the channel is full, in bytes; past it only totals are kept.
pub const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Packages that a worker keeps exact totals of once its backlog is full; the rest are one total.
pub const UNFOLDED_NAMES_MAX: usize = 4096;

/// Windows of clients that are open at once. What a million cost is about 300 MB; past it the
/// oldest is booked early.
pub const FOLD_WINDOWS_MAX: usize = 1_000_000;

/// Tags and digests that all open windows remember together; past it the oldest window is booked
/// early.
pub const FOLD_REFERENCES_MAX: usize = 4 * FOLD_WINDOWS_MAX;

/// Tags and digests that one window remembers; past it the window is booked and begins anew. They
/// are looked through one by one. A mirror of a whole package names about so many a minute.
pub const WINDOW_REFERENCES_MAX: usize = 128;

/// Rows of all packages and dimensions that are counted apart: what one package may have is
/// configured, but not how many packages have that many.
pub const ROWS_MAX: usize = 1_000_000;

/// User agents whose client is remembered; past it the memory begins anew.
pub const AGENTS_MAX: usize = 16_384;

/// Distinct clients (family, version, system) that are counted apart in one run.
pub const CLIENTS_MAX: usize = 65_536;

/// Databases that `insight.databases` can name: one of each kind, and some.
pub const DATABASES_MAX: usize = 8;

/// A text about a place that is kept, in bytes: names of network operators and cities.
pub const PLACE_TEXT_BYTES_MAX: usize = 64;

/// Networks that an operator's file can name.
pub const LABELS_MAX: usize = 100_000;

/// Places (country, region, city, network and so on, together) that are told apart in one run,
/// about 500 bytes each; past it only their countries are.
pub const PLACES_MAX: usize = 131_072;

/// Rows of one package and one dimension of place: a thousand networks; there are 249 countries.
pub const PLACE_ROWS_MAX: usize = 1000;

/// Rows of one package and one pair of dimensions.
pub const CROSSED_ROWS_MAX: usize = 2000;

/// Sketches of the clients of all packages, in bytes; past it new packages get none until the day is
/// over. A package of few clients costs about 200 bytes, one of many 4 KiB.
pub const SKETCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows of which it is known who pulled from there today, as long as that are few, in bytes; past it
/// a new row is not shown in public. One costs about 200: there is room for 300,000.
pub const CROWDS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Cells that wait in memory while they cannot be written, about 100 bytes each; past it time,
/// then rows, are told apart less.
pub const PENDING_CELLS_MAX: usize = 262_144;

/// Lines that an imported file may have. They are written as one record, of about a hundred bytes for
/// each, that is there as a whole or not at all.
pub const HISTORY_LINES_MAX: usize = 100_000;

/// Bytes of such a file, and of what an import is sent as: so many lines with names and numbers of any
/// length.
pub const HISTORY_BYTES_MAX: usize = 1024 * HISTORY_LINES_MAX;

/// Repositories of which a worker remembers that anybody is shown what they hold, 16 bytes each.
pub const RESOLVED_REPOSITORIES_MAX: usize = 65_536;

/// Manifests that are kept on disk, whatever their size: about 100 bytes of memory each know of them.
pub const MANIFESTS_ON_DISK_MAX: usize = 262_144;

/// Manifests that wait to be written to disk, in bytes: eight of the largest, some thousands of common
/// ones. Where the disk is further behind it does without.
pub const KEEPS_WAITING_BYTES_MAX: usize = 8 * MANIFEST_BYTES_MAX;

/// Tokens of registries that one worker keeps, one for each repository and identity; past it those
/// that were not used for longest are fetched again. Real ones are one to three KiB each.
pub const TOKENS_MAX: usize = 4096;

/// Letters that wait for one worker. Each is a fetch that many requests wait for; past it the
/// sender fetches for itself.
pub const LETTERS_WAITING_MAX: usize = 1024;

/// How long a registry that says so is not asked the same again, in seconds: an hour. It may say
/// more, but whoever has put that right is not to wait for a day.
pub const RETRY_AFTER_S_MAX: u64 = 60 * 60;

/// The longest list that a registry is asked for at once: what clients of these lists ask for.
pub const TAGS_N_MAX: usize = 1000;

/// A picture that is brought along for a badge, as a `data:` URL: it stands in the badge, and comes with
/// each request for it.
pub const BADGE_LOGO_BYTES_MAX: usize = 4096;

/// Letters to the left of a badge that its query may choose: more is no badge any more.
pub const BADGE_WORDS_MAX: usize = 64;

/// Points that a chart has at most, and rows that the table below it has: about as many as can be told
/// apart on a screen.
pub const CHART_POINTS_MAX: usize = 130;

const _: () = assert!(BUFFER_BYTES >= RECEIVE_BYTES + 8 * NAME_BYTES_MAX + HOST_BYTES_MAX);
const _: () = assert!(BUFFER_BYTES >= CHALLENGE_BYTES_MAX + 1024);
const _: () = assert!(TAG_BYTES_MAX < DIGEST_BYTES_MAX);
const _: () = assert!(
    PAGE_BYTES
        >= 16
            * (NAME_BYTES_MAX
                + HOST_BYTES_MAX
                + 2 * DIGEST_BYTES_MAX
                + USER_AGENT_BYTES_MAX
                + 9 * (KIN_MEMBERS_MAX + 1))
);
// A package's texts in the route table: its domain and name, its registry's URL and name, its id.
const _: () = assert!(
    PACKAGES_MAX * (2 * (HOST_BYTES_MAX + NAME_BYTES_MAX + 16) + PACKAGE_ID_BYTES_MAX)
        <= u32::MAX as usize + 1
);
const _: () = assert!(BACKLOG_BYTES_MAX >= PAGES_IN_CHANNEL * PAGE_BYTES);
