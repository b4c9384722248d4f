//! Hostile tar archives, written byte by byte.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{TOP, refused};
use crate::binary::platform::ArchiveFormat;

/// One member: its header, its content and the padding.
pub(super) fn member(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    altered(name, kind, content, |_| ())
}

/// A member whose header is altered before its checksum is made.
fn altered(name: &[u8], kind: u8, content: &[u8], alter: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut header = [0; 512];
    let length = name.len().min(100);
    header[..length].copy_from_slice(&name[..length]);
    header[100..108].copy_from_slice(b"0000755\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    alter(&mut header);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut member = header.to_vec();
    member.extend(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn named(name: &str, kind: u8) -> Vec<u8> {
    member(format!("{TOP}/{name}").as_bytes(), kind, b"")
}

fn file(name: &str) -> Vec<u8> {
    member(format!("{TOP}/{name}").as_bytes(), b'0', b"content")
}

fn linked(name: &str, kind: u8, to: &[u8]) -> Vec<u8> {
    altered(format!("{TOP}/{name}").as_bytes(), kind, b"", |header| header[157..157 + to.len()].copy_from_slice(to))
}

fn pax(record: &str) -> Vec<u8> {
    let length = record.len() + 3;
    let length = length + length.to_string().len() - 1;
    member(b"PaxHeaders/etcd", b'x', format!("{length} {record}\n").as_bytes())
}

pub(super) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// The members, and the two blocks that end an archive.
pub(super) fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    gz(&[members.concat(), vec![0; 1024]].concat())
}

/// An otherwise good archive with one more member at its end.
fn with(evil: Vec<u8>) -> Vec<u8> {
    tar(&[named("", b'5'), file("etcd"), file("etcdctl"), evil])
}

#[test]
fn the_archive_that_the_others_are_made_of_is_good() {
    for harmless in [file("README.md"), pax("mtime=1.5"), named("Documentation", b'5'), file("etcdutl")] {
        super::Scratch::new().extract(ArchiveFormat::TarGz, &with(harmless)).unwrap();
    }
}

#[test]
fn members_that_have_no_place_in_a_release_are_refused() {
    let long = format!("{TOP}/{}", "d/".repeat(60));
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("parent", member(b"../evil", b'0', b"evil"), "leads out"),
        ("parent within", file("../../evil"), "leads out"),
        ("parent under documentation", file("Documentation/../../../evil"), "leads out"),
        ("parent at the end", named("Documentation/..", b'5'), "leads out"),
        ("absolute", member(b"/tmp/evil", b'0', b"evil"), "leads out"),
        ("absolute after all", member(format!("//{TOP}/etcd").as_bytes(), b'0', b"evil"), "leads out"),
        ("backslash", file("..\\evil"), "leads out"),
        ("backslash as separator", member(format!("{TOP}\\etcd").as_bytes(), b'0', b"evil"), "leads out"),
        ("drive", member(b"C:evil", b'0', b"evil"), "leads out"),
        ("stream of a file", file("README:evil"), "leads out"),
        ("empty part", file("Documentation//evil"), "no proper name"),
        ("single dot", file("./README"), "no proper name"),
        ("no name", member(b"", b'0', b"evil"), "no proper name"),
        ("only a slash", member(b"/", b'5', b""), "leads out"),
        ("line break", file("README\nevil"), "no proper name"),
        ("escape sequence", file("README\u{1b}[2J"), "no proper name"),
        ("not UTF-8", member(&[TOP.as_bytes(), b"/README\xff"].concat(), b'0', b"evil"), "no proper name"),
        ("NUL in the name", member(&[TOP.as_bytes(), b"/README\0evil"].concat(), b'0', b"evil"), "no proper name"),
        ("outside", member(b"evil", b'0', b"evil"), "lies outside"),
        ("another folder", member(b"etcd-v3.6.5-linux-arm64/etcd", b'0', b"evil"), "lies outside"),
        (
            "folder in other letters",
            member(format!("{}/etcd", TOP.to_uppercase()).as_bytes(), b'0', b""),
            "lies outside",
        ),
        ("symbolic link", linked("README", b'2', b"/etc/passwd"), "is a link"),
        ("link as a program", linked("etcd", b'2', b"/bin/sh"), "is a link"),
        ("hard link", linked("README", b'1', b"/etc/passwd"), "is a link"),
        ("hard link to a member", linked("etcdctl", b'1', format!("{TOP}/etcd").as_bytes()), "is a link"),
        ("file with a link's target", linked("README", b'0', b"/etc/passwd"), "is a link"),
        ("character device", named("README", b'3'), "neither a file nor a directory"),
        ("block device", named("README", b'4'), "neither a file nor a directory"),
        ("pipe", named("README", b'6'), "neither a file nor a directory"),
        ("contiguous file", named("README", b'7'), "neither a file nor a directory"),
        ("sparse file", named("README", b'S'), "neither a file nor a directory"),
        ("incremental directory", named("Documentation", b'D'), "neither a file nor a directory"),
        ("multi-volume rest", named("etcd", b'M'), "neither a file nor a directory"),
        ("unknown kind", named("README", b'Z'), "neither a file nor a directory"),
        ("GNU long name", member(b"././@LongLink", b'L', long.as_bytes()), "neither a file nor a directory"),
        ("GNU long link", member(b"././@LongLink", b'K', b"/etc/passwd"), "neither a file nor a directory"),
        ("global pax header", member(b"pax", b'g', b"14 path=evil\n"), "neither a file nor a directory"),
        ("pax path", pax("path=../evil"), "pax header overrides"),
        ("pax link path", pax("linkpath=/etc/passwd"), "pax header overrides"),
        ("pax size", pax("size=9999999999"), "pax header overrides"),
        ("pax sparse", pax("GNU.sparse.name=evil"), "pax header overrides"),
        ("pax path behind a time", [pax("mtime=1"), pax("path=x")].concat(), "pax header overrides"),
        ("pax with a lying length", member(b"pax", b'x', b"99 mtime=1\n"), "pax header overrides"),
        ("pax without a record", member(b"pax", b'x', b"nonsense"), "pax header overrides"),
        ("pax with no end", member(b"pax", b'x', b"11 mtime=12"), "pax header overrides"),
        ("huge pax", member(b"pax", b'x', &vec![b' '; 70_000]), "too large"),
        ("program twice", file("etcd"), "comes twice"),
        ("program in other letters", file("ETCD"), "comes twice"),
        ("directory as a program", named("etcd/", b'5'), "belongs"),
        ("file in a program", file("etcd/evil"), "belongs"),
        ("file as the folder", member(TOP.as_bytes(), b'0', b"evil"), "belongs"),
        ("file with a slash", file("README/"), "belongs"),
        ("directory as the ignored program", named("etcdutl", b'5'), "not part of any etcd release"),
        ("unknown program", file("evil"), "not part of any etcd release"),
        ("hidden file", file(".profile"), "not part of any etcd release"),
        ("unknown folder", file("bin/etcd"), "not part of any etcd release"),
    ];
    for (kind, evil, reason) in cases {
        refused(ArchiveFormat::TarGz, kind, &with(evil.clone()), reason);
        refused(
            ArchiveFormat::TarGz,
            kind,
            &tar(&[evil.clone(), file("etcd"), file("etcdctl")]),
            match *kind {
                // Alone or first it is no second one.
                "program twice" => "comes twice",
                "program in other letters" => "not part of any etcd release",
                _ => reason,
            },
        );
    }
}

fn size_of(text: &[u8; 12]) -> Vec<u8> {
    let text = *text;
    altered(format!("{TOP}/etcd").as_bytes(), b'0', b"content", move |header| header[124..136].copy_from_slice(&text))
}

#[test]
fn structures_that_lie_are_refused() {
    let good = with(file("README"));
    let plain = [named("", b'5'), file("etcd"), file("etcdctl")].concat();
    let mut unsummed = plain.clone();
    unsummed[700] ^= 1;
    let mut padded = plain.clone();
    padded[512 + 512 + 500] = 1;
    let old = altered(format!("{TOP}/etcd").as_bytes(), b'0', b"content", |header| header[257..265].fill(0));
    let prefixed = altered(b"etcd", b'0', b"evil", |header| header[345..347].copy_from_slice(b".."));
    let mut wrong_crc = good.clone();
    let at = wrong_crc.len() - 6;
    wrong_crc[at] ^= 1;
    let mut wrong_length = good.clone();
    let at = wrong_length.len() - 1;
    wrong_length[at] ^= 1;
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("wrong header checksum", gz(&[unsummed, vec![0; 1024]].concat()), "checksum"),
        ("something in the padding", gz(&[padded, vec![0; 1024]].concat()), "between two members"),
        ("no magic", tar(&[old]), "neither ustar nor GNU"),
        ("parent in the prefix", tar(&[prefixed]), "leads out"),
        ("no end", gz(&plain), "cut off"),
        ("half an end", gz(&[plain.clone(), vec![0; 512]].concat()), "cut off"),
        ("end in one block", gz(&[plain.clone(), vec![0; 512], file("README"), vec![0; 1024]].concat()), "end mark"),
        ("members behind the end", gz(&[plain.clone(), vec![0; 1024], file("etcd")].concat()), "behind its end mark"),
        ("endless zeros", gz(&[plain.clone(), vec![0; 2 << 20]].concat()), "behind its end mark"),
        ("second gzip member", [good.clone(), good.clone()].concat(), "behind its end"),
        ("text behind the end", [good.clone(), b"evil".to_vec()].concat(), "behind its end"),
        ("wrong gzip checksum", wrong_crc, "corrupt gzip stream"),
        ("wrong gzip length", wrong_length, "corrupt gzip stream"),
        ("size beyond the archive", tar(&[size_of(b"00000777777\0")]), "cut off"),
        ("size of 8 GiB", tar(&[size_of(b"77777777777\0")]), "too large"),
        ("binary size", tar(&[size_of(b"\x80\0\0\0\0\0\0\0\0\0\0\x07")]), "too large"),
        ("negative size", tar(&[size_of(b"-0000000007\0")]), "too large"),
        ("no size", tar(&[size_of(&[0; 12])]), "too large"),
        ("size in words", tar(&[size_of(b"seven bytes\0")]), "too large"),
        ("directory with content", tar(&[member(format!("{TOP}/").as_bytes(), b'5', b"evil")]), "neither a file"),
        ("missing program", tar(&[named("", b'5'), file("etcd")]), &format!("has no `{TOP}/etcdctl`")),
        ("empty", tar(&[]), "has no"),
    ];
    for (kind, archive, reason) in cases {
        refused(ArchiveFormat::TarGz, kind, archive, reason);
    }
}

#[test]
fn bombs_are_defused() {
    let many = vec![file("README"); 5_001].concat();
    refused(ArchiveFormat::TarGz, "many members", &gz(&many), "more than 5000 members");
    let many = vec![pax("mtime=1"); 5_001].concat();
    refused(ArchiveFormat::TarGz, "many pax headers", &gz(&many), "more than 5000 members");
    let claim = |size: u64| {
        altered(format!("{TOP}/etcdutl").as_bytes(), b'0', b"", |header| {
            header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        })
    };
    refused(ArchiveFormat::TarGz, "a member of 200 MiB and a byte", &gz(&claim((200 << 20) + 1)), "too large");
    let zeros = vec![0; 200 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..3 {
        bomb.write_all(&claim(200 << 20)).unwrap();
        bomb.write_all(&zeros).unwrap();
    }
    bomb.write_all(&claim(1)).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 10 << 20, "a bomb is small");
    refused(ArchiveFormat::TarGz, "600 MiB and a byte", &bomb, "more than 629145600 bytes");
}
