//! Fetching from a real server on loopback that does what servers do.

mod support;

use faithful_fetch::{
    Address, Error, Event, Fetched, Item, Kind, Patience, Settings, Source, Store, Trust, parse_sha256,
};
use std::fs;
use std::path::PathBuf;
#[cfg(target_os = "linux")]
use std::process::Command;
use std::time::Duration;
use support::{Server, Step};
use tempfile::TempDir;

const FILE: &str = "weights.bin";
const MILLISECOND: Duration = Duration::from_millis(1);

/// Bytes that are not all alike, more than fit into one packet, and their SHA-256.
fn bytes() -> Vec<u8> {
    (0..300_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

const SHA256: &str = "bb40c340b1062067fa53d6e8cfbf3b95534424d8379dcce5394b3e2465bee1e2";

struct Place {
    folder: TempDir,
    settings: Settings,
}

impl Place {
    fn new(server: &Server) -> Self {
        let patience = Patience { pause: MILLISECOND, bytes: 300 * MILLISECOND, tries: 2, ..Patience::default() };
        let settings = Settings { mirror: Some(server.url()), patience, ..Settings::default() };
        Self { folder: tempfile::tempdir().unwrap(), settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> Store {
        Store::new(self.path("home"), self.settings.clone())
    }

    /// Fetches, and keeps the file as `kept`; the words of what happened.
    fn fetch(&self, item: &'static Item) -> Result<(Fetched, Vec<String>), Error> {
        let mut events = Vec::new();
        let mut note = |event: Event| events.push(format!("{event:?}"));
        let store = self.store();
        let turn = store.turn(item, &mut note)?;
        let fetched = turn.fetch(&mut note)?;
        turn.accept(&fetched, Some(&self.path("kept")))?;
        Ok((fetched, events))
    }

    fn refused(&self, item: &'static Item) -> String {
        self.fetch(item).map(drop).unwrap_err().to_string()
    }

    /// The file as it was kept, which must be whole, and nothing beside it.
    fn assert_kept(&self) {
        assert!(fs::read(self.path("kept")).unwrap() == bytes());
        let downloads = fs::read_dir(self.path("home/downloads")).unwrap();
        let names: Vec<_> = downloads.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["item.lock"]);
    }
}

/// What is published under these addresses, with the digits that are known of it.
fn item(sources: &[(&'static str, &'static str)]) -> &'static Item {
    let source =
        |(url, sha256): &(&'static str, &'static str)| Source { address: Address::Url(url), bytes: None, sha256 };
    let sources: Vec<Source> = sources.iter().map(source).collect();
    Box::leak(Box::new(Item { name: "item", kind: Kind::File(FILE), about: "a test", sources: sources.leak() }))
}

fn published() -> &'static Item {
    item(&[("https://files.test/a/weights.bin", SHA256)])
}

fn serve(steps: &[Step]) -> (Server, Place) {
    let server = Server::new(&[(FILE, &bytes())], steps);
    let place = Place::new(&server);
    (server, place)
}

#[test]
fn a_file_is_fetched_checked_and_kept() {
    let (server, place) = serve(&[]);
    let (fetched, events) = place.fetch(published()).unwrap();
    assert_eq!((fetched.trust, fetched.bytes, fetched.sha256.as_str()), (Trust::Published, 1_200_000, SHA256));
    assert_eq!(fetched.url, "https://files.test/a/weights.bin");
    place.assert_kept();
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].target.as_str()), (1, "/files.test/a/weights.bin"));
    assert_eq!((asked[0].header("range"), asked[0].header("accept-encoding")), (None, Some("identity")));
    assert!(asked[0].header("user-agent").unwrap().starts_with("faithful/"));
    assert!(events.contains(&"Started { from: 0, total: Some(1200000) }".into()), "{events:?}");
    assert!(events.contains(&"Received(1200000)".into()));
}

#[test]
fn redirects_are_followed_and_loops_end() {
    let (server, place) = serve(&[Step::Redirect("/elsewhere"), Step::Redirect("/further")]);
    place.fetch(published()).unwrap();
    place.assert_kept();
    assert_eq!(server.asked()[2].target, "/further/weights.bin");
    let (_server, place) = serve(&vec![Step::Redirect("/again"); 40]);
    assert!(place.refused(published()).contains("redirect"));
}

#[test]
fn what_was_cut_off_is_gone_on_with() {
    let (server, place) = serve(&[Step::Cut(100_000), Step::Cut(50_000)]);
    let (_, events) = place.fetch(published()).unwrap();
    place.assert_kept();
    let asked = server.asked();
    let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=150000-".into())]);
    assert_eq!(asked[1].header("if-range"), Some("\"one\""));
    assert!(events.iter().any(|event| event.starts_with("Again")), "{events:?}");
}

#[test]
fn what_an_earlier_try_has_left_is_gone_on_with() {
    let (server, mut place) = serve(&[Step::Cut(70_000)]);
    place.settings.patience.tries = 0;
    let error = place.refused(published());
    assert!(error.contains("weights.bin: ") && error.contains("1 times"), "{error}");
    place.fetch(published()).unwrap();
    place.assert_kept();
    assert_eq!(server.asked()[1].header("range"), Some("bytes=70000-"));
}

#[test]
fn a_file_that_was_never_accepted_is_not_fetched_again() {
    let (server, place) = serve(&[]);
    let store = place.store();
    store.turn(published(), &mut |_| {}).unwrap().fetch(&mut |_| {}).unwrap();
    place.fetch(published()).unwrap();
    place.assert_kept();
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn servers_without_ranges_and_other_versions_begin_anew() {
    let (_server, place) = serve(&[Step::Cut(100_000), Step::NoRange]);
    place.fetch(published()).unwrap();
    place.assert_kept();
    let (_server, place) = serve(&[Step::Cut(100_000), Step::WrongRange]);
    place.fetch(published()).unwrap();
    place.assert_kept();
    // The server says by its tag that the rest would be another file's.
    let (server, mut place) = serve(&[Step::Cut(100_000)]);
    place.settings.patience.tries = 0;
    place.refused(published());
    server.change_tag();
    let (_, events) = place.fetch(published()).unwrap();
    place.assert_kept();
    assert!(events.contains(&"Started { from: 0, total: Some(1200000) }".into()), "{events:?}");
}

#[test]
fn wrong_bytes_are_never_kept() {
    let (server, place) = serve(&[Step::Corrupt]);
    let error = place.refused(published());
    assert!(error.contains("its SHA-256 is") && error.contains(SHA256), "{error}");
    assert!(!place.path("kept").exists());
    // The beginning was of another file: once more, from the start.
    place.fetch(published()).unwrap();
    assert_eq!(server.asked().len(), 2);
    let (server, place) = serve(&[Step::Corrupt]);
    let both = item(&[("https://a.test/weights.bin", SHA256), ("https://b.test/weights.bin", SHA256)]);
    let (fetched, _) = place.fetch(both).unwrap();
    assert_eq!(fetched.url, "https://b.test/weights.bin");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn busy_servers_are_asked_again_and_lost_ones_left() {
    let busy = [Step::Status(429, Some("0")), Step::Status(503, None)];
    let (server, place) = serve(&busy);
    let (_, events) = place.fetch(published()).unwrap();
    place.assert_kept();
    assert_eq!(server.asked().len(), 3);
    assert!(events.iter().any(|event| event.contains("429") && event.contains("pause: 0ns")), "{events:?}");
    assert!(events.iter().any(|event| event.contains("503") && event.contains("pause: 2ms")), "{events:?}");

    let (server, place) = serve(&vec![Step::Status(500, None); 9]);
    let error = place.refused(published());
    assert!(error.contains("500 Internal Server Error, 3 times"), "{error}");
    assert_eq!(server.asked().len(), 3);

    let (server, place) = serve(&[Step::Status(503, Some("7200"))]);
    assert!(place.refused(published()).contains("it asks to wait 7200 s"));
    assert_eq!(server.asked().len(), 1);

    // Not found and forbidden are final for a source; the next one is asked.
    let (server, place) = serve(&[]);
    let moved = item(&[("https://files.test/gone.bin", SHA256), ("https://files.test/weights.bin", SHA256)]);
    let (_, events) = place.fetch(moved).unwrap();
    assert!(events.iter().any(|event| event.starts_with("Next") && event.contains("404 Not Found")), "{events:?}");
    assert_eq!(server.asked().len(), 2);
    let (server, place) = serve(&[Step::Status(403, None)]);
    assert!(place.refused(published()).contains("403 Forbidden"));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn servers_that_stop_sending_are_given_up() {
    let (server, place) = serve(&[Step::Stall(200_000)]);
    let (_, events) = place.fetch(published()).unwrap();
    place.assert_kept();
    assert_eq!(server.asked()[1].header("range"), Some("bytes=200000-"));
    assert!(events.iter().any(|event| event.contains("stopped sending")), "{events:?}");
    // Everything came, and the end did not: the server says that nothing is left.
    let (server, place) = serve(&[Step::Endless]);
    place.fetch(published()).unwrap();
    place.assert_kept();
    assert_eq!(server.asked()[1].header("range"), Some("bytes=1200000-"));
    // A few bytes now and then are no download.
    let (_server, mut place) = serve(&[Step::Trickle]);
    place.settings.patience.span = 200 * MILLISECOND;
    let (_, events) = place.fetch(published()).unwrap();
    place.assert_kept();
    assert!(events.iter().any(|event| event.contains("it sent")), "{events:?}");
    // Nobody listens.
    let (server, place) = serve(&[]);
    drop(server);
    assert!(place.refused(published()).contains("could not be fetched"));
}

#[test]
fn what_is_published_without_a_digest_must_stay_as_it_was() {
    let (_server, place) = serve(&[]);
    let bare = item(&[("https://files.test/weights.bin", "")]);
    assert_eq!(place.fetch(bare).unwrap().0.trust, Trust::First);
    assert_eq!(place.fetch(bare).unwrap().0.trust, Trust::Recorded);
    let part = item(&[("https://files.test/b/weights.bin", &SHA256[..8])]);
    assert_eq!(place.fetch(part).unwrap().0.trust, Trust::Digits(8));
    assert_eq!(place.fetch(part).unwrap().0.trust, Trust::Recorded);
    let other = item(&[("https://files.test/c/weights.bin", "00000000")]);
    assert!(place.refused(other).contains("00000000 begins the published one"));

    let (_server, changed) = serve(&[Step::Corrupt, Step::Corrupt]);
    let mut changed = Place { folder: place.folder, ..changed };
    let error = changed.refused(bare);
    assert!(error.contains("is what it was before") && error.contains("--sha256"), "{error}");
    changed.settings.sha256 = Some("0".repeat(64));
    assert!(changed.refused(bare).contains("was asked for"));
    changed.settings.sha256 = Some(parse_sha256(&SHA256.to_uppercase()).unwrap());
    assert_eq!(changed.fetch(bare).unwrap().0.trust, Trust::Asked);
}

#[test]
fn lengths_that_do_not_fit_are_refused_before_the_body() {
    let (_server, place) = serve(&[]);
    let source = Source { address: Address::Url("https://files.test/weights.bin"), bytes: Some(7), sha256: SHA256 };
    let item = Item { name: "item", kind: Kind::File(FILE), about: "a test", sources: vec![source].leak() };
    let error = place.refused(Box::leak(Box::new(item)));
    assert!(error.contains("1200000 bytes, and the file that is wanted has 7"), "{error}");
}

#[test]
fn offline_only_other_programs_caches_are_searched() {
    let (server, mut place) = serve(&[]);
    place.settings.offline = true;
    place.settings.hub_cache = Some(place.path("hub"));
    place.settings.torch_cache = Some(place.path("torch"));
    let hub = Address::Hub { repository: "owner/name", revision: "main", file: FILE };
    let sources = [hub, Address::Torchvision(FILE)].map(|address| Source { address, bytes: None, sha256: SHA256 });
    let item = Item { name: "item", kind: Kind::Weights, about: "a test", sources: sources.to_vec().leak() };
    let item: &'static Item = Box::leak(Box::new(item));
    let error = place.refused(item);
    assert!(error.contains("offline") && error.contains("torch"), "{error}");

    fs::create_dir(place.path("torch")).unwrap();
    fs::write(place.path("torch/weights.bin"), b"something else").unwrap();
    assert!(place.refused(item).contains("its SHA-256 is"));
    fs::write(place.path("torch/weights.bin"), bytes()).unwrap();
    let (fetched, _) = place.fetch(item).unwrap();
    assert_eq!(fetched.path, place.path("torch/weights.bin"));
    assert!(fs::read(place.path("torch/weights.bin")).unwrap() == bytes(), "what others keep stays");

    let snapshot = place.path("hub/models--owner--name/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(place.path("hub/models--owner--name/refs")).unwrap();
    fs::write(place.path("hub/models--owner--name/refs/main"), "abc").unwrap();
    fs::write(snapshot.join(FILE), bytes()).unwrap();
    assert_eq!(place.fetch(item).unwrap().0.path, snapshot.join(FILE));
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn the_hubs_cache_is_shared_where_its_user_keeps_one() {
    let (server, mut place) = serve(&[]);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let address = Address::Hub { repository: "owner/name", revision: commit, file: FILE };
    let source = Source { address, bytes: None, sha256: SHA256 };
    let item = Item { name: "item", kind: Kind::Weights, about: "a test", sources: vec![source].leak() };
    let item: &'static Item = Box::leak(Box::new(item));
    place.settings.hub_cache = Some(place.path("hub"));
    place.settings.share_with_hub = true;
    let (fetched, _) = place.fetch(item).unwrap();
    assert_eq!(server.asked()[0].target, format!("/huggingface.co/owner/name/resolve/{commit}/weights.bin"));
    let folder = place.path("hub/models--owner--name");
    assert_eq!(fetched.path, folder.join("snapshots").join(commit).join(FILE));
    assert!(fs::read(folder.join("blobs").join(SHA256)).unwrap() == bytes());
    if cfg!(unix) {
        let link = fs::read_link(&fetched.path).unwrap();
        assert_eq!(link, PathBuf::from("../../blobs").join(SHA256));
    }
    place.settings.offline = true;
    assert_eq!(place.fetch(item).unwrap().0.path, fetched.path);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn two_at_once_fetch_once() {
    let (server, place) = serve(&[Step::Stall(500_000)]);
    let results: Vec<_> = std::thread::scope(|scope| {
        let fetch = || {
            let store = place.store();
            let mut waited = false;
            let turn = store.turn(published(), &mut |event| waited |= matches!(event, Event::Waiting)).unwrap();
            if !place.path("kept").exists() {
                let fetched = turn.fetch(&mut |_| {}).unwrap();
                turn.accept(&fetched, Some(&place.path("kept"))).unwrap();
            }
            waited
        };
        let threads = [scope.spawn(fetch), scope.spawn(fetch), scope.spawn(fetch)];
        threads.map(|thread| thread.join().unwrap()).to_vec()
    });
    place.assert_kept();
    assert!(results.iter().any(|waited| *waited), "{results:?}");
    assert_eq!(server.asked().len(), 2, "one that stopped sending, and the rest");
}

/// Unmounted whatever happens, so that the folder can be removed.
#[cfg(target_os = "linux")]
struct Mounted(PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// A file system of half a megabyte; without the right to mount one, the test says that it is skipped.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_what_came_and_goes_on_when_there_is_room() {
    let (server, place) = serve(&[]);
    let home = place.path("home");
    fs::create_dir(&home).unwrap();
    let mount = |options: &str| {
        let command = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&home).output();
        command.is_ok_and(|output| output.status.success())
    };
    if !mount("size=512k") {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let _mounted = Mounted(home.clone());
    let error = place.refused(published());
    assert!(error.contains("the disk is full") && error.contains("goes on"), "{error}");
    assert!(!place.path("kept").exists());
    assert!(mount("remount,size=8m"));
    let (_, events) = place.fetch(published()).unwrap();
    place.assert_kept();
    assert!(server.asked()[1].header("range").is_some(), "{events:?}");
}
