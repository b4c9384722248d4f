//! Doors for the fuzz targets, which see no private function. Only there when they are built.

use std::path::Path;

use crate::binary;
use crate::settings::Settings;

/// Reads a release archive into a directory; tells whether it was taken.
pub fn archive(is_zip: bool, archive: &[u8], into: &Path) -> bool {
    binary::fuzz_archive(is_zip, archive, into)
}

/// What the manifest of a workspace says, if it can be understood.
pub fn settings(manifest: &str) -> Option<Settings> {
    Settings::fuzz(manifest)
}
