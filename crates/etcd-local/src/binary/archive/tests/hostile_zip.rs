//! Hostile zip archives, written byte by byte.

use flate2::Crc;

use super::{TOP, refused};
use crate::binary::platform::ArchiveFormat;

/// What both headers of a member say, so that each can be made to lie.
#[derive(Clone)]
struct Told {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    extra: Vec<u8>,
}

#[derive(Clone)]
struct Member {
    local: Told,
    central: Told,
    data: Vec<u8>,
    descriptor: Vec<u8>,
    attributes: u32,
    offset: Option<u32>,
}

fn member(name: &[u8], content: &[u8]) -> Member {
    let mut crc = Crc::new();
    crc.update(content);
    let size = u32::try_from(content.len()).unwrap();
    let (name, extra) = (name.to_vec(), Vec::new());
    let told = Told { name, flags: 0, method: 0, crc: crc.sum(), packed: size, size, extra };
    let (local, central, data) = (told.clone(), told, content.to_vec());
    Member { local, central, data, descriptor: Vec::new(), attributes: 0o100_755 << 16, offset: None }
}

fn file(name: &str) -> Member {
    member(format!("{TOP}/{name}").as_bytes(), b"content")
}

fn directory(name: &str) -> Member {
    Member { attributes: 0o040_755 << 16 | 0x10, ..member(format!("{TOP}/{name}").as_bytes(), b"") }
}

impl Member {
    fn but(mut self, alter: impl FnOnce(&mut Self)) -> Self {
        alter(&mut self);
        self
    }

    fn both(mut self, alter: impl Fn(&mut Told)) -> Self {
        alter(&mut self.local);
        alter(&mut self.central);
        self
    }

    fn deflated(mut self) -> Self {
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut deflate, &self.data).unwrap();
        self.data = deflate.finish().unwrap();
        let packed = u32::try_from(self.data.len()).unwrap();
        self.both(|told| (told.method, told.packed) = (8, packed))
    }

    fn described(self) -> Self {
        let (crc, packed, size) = (self.central.crc, self.central.packed, self.central.size);
        let mut member = self.both(|told| told.flags |= 8);
        (member.local.crc, member.local.packed, member.local.size) = (0, 0, 0);
        member.descriptor =
            [b"PK\x07\x08".as_slice(), &crc.to_le_bytes(), &packed.to_le_bytes(), &size.to_le_bytes()].concat();
        member
    }
}

impl Told {
    fn write(&self, to: &mut Vec<u8>) {
        for short in [20, self.flags, self.method, 0, 33] {
            to.extend(short.to_le_bytes());
        }
        for long in [self.crc, self.packed, self.size] {
            to.extend(long.to_le_bytes());
        }
        for length in [self.name.len(), self.extra.len()] {
            to.extend(u16::try_from(length).unwrap().to_le_bytes());
        }
    }
}

/// What the end says, so that it can be made to lie.
struct End {
    disk: u16,
    count: u16,
    total: u16,
    size: u32,
    at: u32,
    comment: Vec<u8>,
    comment_length: Option<u16>,
    /// Behind the last member in the directory, and counted to it.
    rest: Vec<u8>,
}

fn zip_ended(members: &[Member], alter: impl FnOnce(&mut End)) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let at = member.offset.unwrap_or(u32::try_from(zip.len()).unwrap());
        zip.extend(b"PK\x03\x04");
        member.local.write(&mut zip);
        zip.extend([&member.local.name, &member.local.extra, &member.data, &member.descriptor].into_iter().flatten());
        directory.extend(b"PK\x01\x02\x1e\x03");
        member.central.write(&mut directory);
        directory.extend([0; 6]);
        directory.extend(member.attributes.to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend([&member.central.name, &member.central.extra].into_iter().flatten());
    }
    let count = u16::try_from(members.len()).unwrap();
    let (size, at) = (u32::try_from(directory.len()).unwrap(), u32::try_from(zip.len()).unwrap());
    let mut end =
        End { disk: 0, count, total: count, size, at, comment: Vec::new(), comment_length: None, rest: Vec::new() };
    alter(&mut end);
    end.size += u32::try_from(end.rest.len()).unwrap();
    zip.extend(directory);
    zip.extend(end.rest);
    zip.extend(b"PK\x05\x06");
    for short in [end.disk, 0, end.count, end.total] {
        zip.extend(short.to_le_bytes());
    }
    zip.extend(end.size.to_le_bytes());
    zip.extend(end.at.to_le_bytes());
    let comment_length = end.comment_length.unwrap_or(u16::try_from(end.comment.len()).unwrap());
    zip.extend(comment_length.to_le_bytes());
    zip.extend(end.comment);
    zip
}

fn zip(members: &[Member]) -> Vec<u8> {
    zip_ended(members, |_| ())
}

fn programs() -> Vec<Member> {
    vec![directory(""), file("etcd"), file("etcdctl").deflated()]
}

fn with(evil: Member) -> Vec<u8> {
    zip(&[programs(), vec![evil]].concat())
}

#[test]
fn the_archive_that_the_others_are_made_of_is_good() {
    let times = file("README").both(|told| told.extra = b"UT\x05\0\x01\0\0\0\0".to_vec());
    let unsigned = file("README").described().but(|member| drop(member.descriptor.drain(..4)));
    let from_dos = file("README").but(|member| member.attributes = 0x20);
    for harmless in [file("README").described(), file("etcdutl").deflated().described(), times, unsigned, from_dos] {
        super::Scratch::new().extract(ArchiveFormat::Zip, &with(harmless)).unwrap();
    }
}

#[test]
fn members_that_have_no_place_in_a_release_are_refused() {
    let mode = |member: Member, mode: u32| member.but(|member| member.attributes = mode << 16);
    let extra = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        file("README").both(move |told| told.extra = bytes.clone())
    };
    let cases: &[(&str, Member, &str)] = &[
        ("parent", member(b"../evil", b"evil"), "leads out"),
        ("parent within", file("../../evil"), "leads out"),
        ("absolute", member(b"/tmp/evil", b"evil"), "leads out"),
        ("backslashes", member(format!("{TOP}\\etcd").as_bytes(), b"evil"), "leads out"),
        ("drive", member(b"C:/evil", b"evil"), "leads out"),
        ("NUL in the name", file("README\0evil"), "no proper name"),
        ("not UTF-8", member(&[TOP.as_bytes(), b"/README\xff"].concat(), b"evil"), "no proper name"),
        ("no name", member(b"", b"evil"), "no proper name"),
        ("outside", member(b"evil", b"evil"), "lies outside"),
        ("unknown program", file("evil"), "not part of any etcd release"),
        ("program twice", file("etcd"), "comes twice"),
        ("program in other letters", file("Etcd"), "comes twice"),
        ("directory as a program", directory("etcd/"), "belongs"),
        ("symbolic link", mode(file("README"), 0o120_777), "is a link"),
        ("link as a program", mode(file("etcd"), 0o120_777), "is a link"),
        ("pipe", mode(file("README"), 0o010_644), "neither a file nor a directory"),
        ("device", mode(file("README"), 0o060_644), "neither a file nor a directory"),
        ("socket", mode(file("README"), 0o140_644), "neither a file nor a directory"),
        ("file that says it is a directory", mode(file("README"), 0o040_755), "belongs"),
        ("file with the directory bit", file("README").but(|member| member.attributes = 0x10), "belongs"),
        ("directory that says it is a file", mode(directory("Documentation/"), 0o100_644), "belongs"),
        ("directory with content", member(format!("{TOP}/").as_bytes(), b"evil").but(|m| m.attributes = 0), "belongs"),
        ("encrypted", file("README").both(|told| told.flags |= 1), "encrypted"),
        ("strongly encrypted", file("README").both(|told| told.flags |= 0x40), "encrypted"),
        ("hidden headers", file("README").both(|told| told.flags |= 0x2000), "encrypted"),
        ("patch data", file("README").both(|told| told.flags |= 0x20), "unknown way"),
        ("bzip2", file("README").both(|told| told.method = 12), "unknown way"),
        ("zip64 sizes", extra(b"\x01\0\x08\0\x07\0\0\0\0\0\0\0"), "two ways"),
        ("Unicode path", extra(b"up\x05\0\x01\0\0\0\0"), "two ways"),
        ("extra that is cut off", extra(b"UT\xff\0"), "cut off"),
        ("stored with two sizes", file("README").both(|told| told.size = 3), "two ways"),
        ("huge", file("etcdutl").deflated().both(|told| told.size = 1 << 30), "too large"),
        ("zip64 marker", file("README").both(|told| (told.size, told.packed) = (u32::MAX, u32::MAX)), "two ways"),
        ("other name in front", file("README").but(|m| m.local.name = format!("{TOP}/etcd").into_bytes()), "two ways"),
        ("other size in front", file("README").but(|member| member.local.size = 3), "two ways"),
        ("other checksum in front", file("README").but(|member| member.local.crc ^= 1), "two ways"),
        ("other method in front", file("README").but(|member| member.local.method = 8), "two ways"),
        ("other flags in front", file("README").but(|member| member.local.flags = 2), "two ways"),
        ("encrypted in front", file("README").but(|member| member.local.flags = 1), "two ways"),
        ("wrong checksum", file("README").both(|told| told.crc ^= 1), "another checksum"),
        ("larger than told", file("README").deflated().both(|told| told.size = 3), "another checksum"),
        ("smaller than told", file("README").deflated().both(|told| told.size = 30), "cut off"),
        ("broken data", file("README").deflated().but(|member| member.data[0] = 0xff), "cannot read the archive"),
        (
            "rest behind the data",
            {
                let member = file("README").deflated().but(|member| member.data.extend(b"evil"));
                let packed = u32::try_from(member.data.len()).unwrap();
                member.both(|told| told.packed = packed)
            },
            "another checksum",
        ),
        ("descriptor that differs", file("README").described().but(|member| member.descriptor[4] ^= 1), "two ways"),
        ("beyond the end", file("README").but(|member| member.offset = Some(1 << 30)), "overlap"),
        ("the first one again", file("etcd").but(|member| member.offset = Some(0)), "overlap"),
    ];
    for (kind, evil, reason) in cases {
        refused(ArchiveFormat::Zip, kind, &with(evil.clone()), reason);
    }
}

#[test]
fn structures_that_lie_are_refused() {
    let good = zip(&programs());
    let behind = b"evil".to_vec();
    let gap =
        [programs(), vec![file("README").but(|member| member.descriptor = b"evil".to_vec()), file("LICENSE")]].concat();
    let last_gap = [programs(), vec![file("README").but(|member| member.descriptor = b"evil".to_vec())]].concat();
    let end = |alter: fn(&mut End)| zip_ended(&programs(), alter);
    let mut torn = good.clone();
    let at = torn.len() - 22 - 10;
    torn.drain(at..at + 1);
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("text behind the end", [good.clone(), behind.clone()].concat(), "does not end with a zip directory"),
        ("comment", end(|end| end.comment = b"hello".to_vec()), "does not end with a zip directory"),
        ("comment that is not there", end(|end| end.comment_length = Some(5)), "does not end with a zip directory"),
        ("something in the directory", end(|end| end.rest = b"evil".to_vec()), "does not tell of"),
        (
            "end within a comment",
            end(|end| end.comment = [b"PK\x05\x06".as_slice(), &[0; 18]].concat()),
            "not where it should be",
        ),
        ("text in front", [behind.clone(), good.clone()].concat(), "not where it should be"),
        ("second archive", [good.clone(), good.clone()].concat(), "not where it should be"),
        ("directory that is torn", torn, "not where it should be"),
        ("directory elsewhere", end(|end| end.at += 1), "not where it should be"),
        ("directory of zip64", end(|end| (end.size, end.at) = (u32::MAX, u32::MAX)), "not where it should be"),
        ("several disks", end(|end| end.disk = 1), "several parts"),
        ("part of the members", end(|end| end.count = 1), "several parts"),
        ("fewer members", end(|end| (end.count, end.total) = (2, 2)), "does not tell of"),
        ("more members", end(|end| (end.count, end.total) = (9, 9)), "cut off"),
        ("zip64 count", end(|end| (end.count, end.total) = (0xffff, 0xffff)), "cut off"),
        ("something between members", zip(&gap), "between them"),
        ("something before the directory", zip(&last_gap), "does not tell of"),
        ("missing program", zip(&[directory(""), file("etcd")]), &format!("has no `{TOP}/etcdctl`")),
        ("empty", zip(&[]), "has no"),
        ("many members", zip(&vec![file("README"); 5_001]), "more than 5000 members"),
    ];
    for (kind, archive, reason) in cases {
        refused(ArchiveFormat::Zip, kind, archive, reason);
    }
}
