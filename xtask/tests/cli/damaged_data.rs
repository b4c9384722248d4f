//! Data that etcd cannot go on with: said at once, with the file and what can be done, in words and not as Go's stack.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::playground::{Playground, Run, get, put};

/// Damage that is done to a member directory, and what is said of it.
type Damage = (fn(&Path), &'static [&'static str]);

const WAL: &str = "0000000000000000-0000000000000000.wal";

const DAMAGES: [Damage; 6] = [
    (|member| drop(File::create(wal(member)).unwrap()), &[".wal`: it is empty"]),
    (|member| fs::remove_dir_all(member.join("wal")).unwrap(), &["`member/wal`: it is missing"]),
    (|member| change_value(&wal(member)), &["walpb: crc mismatch"]),
    (|member| fs::write(db(member), [0x5a; 40_000]).unwrap(), &["snap/db`: invalid database"]),
    (|member| destroy_pages(&db(member)), &["snap/db`: panic: assertion failed: Page expected to be"]),
    (|member| File::options().write(true).open(db(member)).unwrap().set_len(8192).unwrap(), &["snap/db`: fatal error"]),
];

fn wal(member: &Path) -> PathBuf {
    member.join("wal").join(WAL)
}

fn db(member: &Path) -> PathBuf {
    member.join("snap").join("db")
}

fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Destroys every page of the database that holds keys or leads to pages that do. Pages are free or not depending on how
/// often etcd committed, and etcd never looks at a free page.
fn destroy_pages(file: &Path) {
    let mut content = fs::read(file).unwrap();
    let size = u32::from_le_bytes(content[24..28].try_into().unwrap()) as usize;
    // The flags of a page follow its number, of eight bytes: 1 is a branch, 2 is a leaf.
    let pages = content.chunks_mut(size).skip(2).filter(|page| page[8] & 3 != 0);
    pages.for_each(|page| page.fill(0xff));
    fs::write(file, content).unwrap();
}

/// Changes one byte of the value `v` of the key that was written last.
fn change_value(file: &Path) {
    // etcd reserves 64 MB for it.
    let mut content = Vec::new();
    File::open(file).unwrap().take(1 << 20).read_to_end(&mut content).unwrap();
    let key = content.windows(3).rposition(|window| window == b"key").unwrap();
    let value = content[key..].iter().position(|byte| *byte == b'v').unwrap();
    overwrite(file, (key + value) as u64, b"w");
}

fn said(run: Run, words: &[&str]) -> Run {
    let run = run.fails(1, &[words, &["error: the data in `", "is damaged: ", "  log: ", "etcd-reset"]].concat());
    assert!(!run.stderr.contains(".go:") && !run.stderr.contains("timeout"), "{run:#?}");
    run
}

#[test]
fn damaged_data_is_called_so_with_the_file_and_the_ways_out() {
    let check = |version: &str| {
        let play = Playground::new();
        let (data, whole) = (play.path(".etcd/default/data"), play.path("whole"));
        put(&play.up(&["--etcd", version]), "dg==");
        play.xtask(&["etcd-down"]).ok();
        testkit::copy(&data, &whole);
        for (damage, words) in DAMAGES {
            damage(&data.join("member"));
            let run = said(play.xtask(&["etcd-up", "--etcd", version]), words);
            assert!(run.stderr.contains(&format!("a backup of `{}`", data.display())), "{run:#?}");
            // The first way out.
            fs::remove_dir_all(&data).unwrap();
            testkit::copy(&whole, &data);
        }
        assert_eq!(get(&play.up(&["--etcd", version])).as_deref(), Some("dg=="), "{version}");
        play.xtask(&["etcd-down"]).ok();
        // The other.
        fs::remove_dir_all(data.join("member/wal")).unwrap();
        said(play.xtask(&["etcd-up", "--etcd", version]), &[]);
        play.xtask(&["etcd-reset", "--yes"]).ok();
        assert_eq!(get(&play.up(&["--etcd", version])), None, "{version}");
    };
    std::thread::scope(|scope| {
        for version in ["3.5.27", "3.7.2"] {
            scope.spawn(move || check(version));
        }
    });
}

#[test]
fn damage_elsewhere_is_what_the_reset_of_the_hint_deletes() {
    let play = Playground::new();
    put(&play.up(&[]), "dg==");
    play.xtask(&["etcd-down"]).ok();
    play.up(&["--data-dir", "dev"]);
    play.xtask(&["etcd-down"]).ok();
    fs::remove_dir_all(play.path("dev/member/wal")).unwrap();
    said(play.xtask(&["etcd-up", "--data-dir", "dev"]), &["/dev` is damaged"]);
    assert!(play.xtask(&["etcd-reset", "--yes"]).ok().stdout.contains("wiped dev"));
    assert_eq!(get(&play.up(&[])).as_deref(), Some("dg=="));
}
