//! Platforms, as the publishers of etcd and protoc spell them. The only place that knows these names.

use super::{Source, Tool};

/// An operating system and processor for which binaries are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    etcd: &'static str,
    protoc: &'static str,
}

const ALL: [Platform; 7] = [
    Platform { etcd: "linux-amd64", protoc: "linux-x86_64" },
    Platform { etcd: "linux-arm64", protoc: "linux-aarch_64" },
    Platform { etcd: "linux-ppc64le", protoc: "linux-ppcle_64" },
    Platform { etcd: "linux-s390x", protoc: "linux-s390_64" },
    Platform { etcd: "darwin-amd64", protoc: "macos-x86_64" },
    Platform { etcd: "darwin-arm64", protoc: "macos-aarch_64" },
    Platform { etcd: "windows-amd64", protoc: "win32" },
];

impl Platform {
    /// The one that this program was compiled for.
    pub(crate) fn host() -> Option<Self> {
        let name = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => "linux-amd64",
            ("linux", "aarch64") => "linux-arm64",
            ("linux", "powerpc64") if cfg!(target_endian = "little") => "linux-ppc64le",
            ("linux", "s390x") => "linux-s390x",
            ("macos", "x86_64") => "darwin-amd64",
            ("macos", "aarch64") => "darwin-arm64",
            // Windows on ARM runs programs for x86-64.
            ("windows", "x86_64" | "aarch64") => "windows-amd64",
            _ => return None,
        };
        Self::named(name)
    }

    /// The one that etcd's releases call so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|platform| platform.etcd == name)
    }

    /// Its name among the publisher's files of this tool.
    pub(crate) fn name(self, tool: Tool) -> &'static str {
        match tool {
            Tool::Etcd => self.etcd,
            Tool::Protoc => self.protoc,
        }
    }

    /// A program's file name here.
    pub(crate) fn program(self, name: &str) -> String {
        if self.etcd.starts_with("windows") { format!("{name}.exe") } else { name.to_owned() }
    }

    /// How the names of release archives end.
    pub(crate) fn archive_extension(self) -> &'static str {
        if self.etcd.starts_with("linux") { "tar.gz" } else { "zip" }
    }
}

/// Whether a tool can come from a source at all.
pub(crate) fn offers(source: Source, tool: Tool) -> bool {
    match tool {
        Tool::Etcd => true,
        Tool::Protoc => source == Source::Registry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_the_publishers_name_them() {
        let windows = Platform::named("windows-amd64").unwrap();
        assert_eq!((windows.program("etcd").as_str(), windows.name(Tool::Protoc)), ("etcd.exe", "win32"));
        assert_eq!(windows.archive_extension(), "zip");
        let linux = Platform::named("linux-arm64").unwrap();
        assert_eq!((linux.program("etcd").as_str(), linux.name(Tool::Protoc)), ("etcd", "linux-aarch_64"));
        assert_eq!(linux.archive_extension(), "tar.gz");
        assert_eq!(Platform::named("darwin-arm64").unwrap().archive_extension(), "zip");
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(Platform::host().is_some());
        assert_eq!(Platform::named("plan9-mips"), None);
    }
}
